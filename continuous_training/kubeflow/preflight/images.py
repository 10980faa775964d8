"""A look for the images that a run names, in their registries."""

from __future__ import annotations

from continuous_training.adapters import image_registry
from continuous_training.core.errors import PipelineError
from continuous_training.kubeflow.object_names import DISTRIBUTION
from continuous_training.kubeflow.preflight.finding import MISSING, THERE, UNSEEN, Finding


def look_for(image: str) -> Finding:
    """Return whether the registry has the image; one that cannot be asked is not held against it."""
    what = f"image {image}"
    if image.startswith(f"{DISTRIBUTION}/"):
        return Finding(UNSEEN, what, "it names no registry: give --registry")
    try:
        there = image_registry.is_there(image)
    except PipelineError as error:
        return Finding(UNSEEN, what, str(error))
    if there:
        return Finding(THERE, what)
    return Finding(MISSING, what, "make images REGISTRY=... TAG=... builds and pushes it (docs/images.md)")
