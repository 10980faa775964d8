"""Preflight check of an image: its registry has it."""

from __future__ import annotations

from continuous_training.adapters import image_registry
from continuous_training.core.errors import PipelineError
from continuous_training.kubeflow.object_names import DISTRIBUTION
from continuous_training.kubeflow.preflight.finding import Finding, State


def check_image(image: str) -> Finding:
    """Return whether the registry has the image. An unreachable registry is not a failure."""
    requirement = f"image {image}"
    if image.startswith(f"{DISTRIBUTION}/"):
        return Finding(State.NOT_VISIBLE, requirement, "its name contains no registry: pass --registry")
    try:
        exists = image_registry.is_there(image)
    except PipelineError as error:
        return Finding(State.NOT_VISIBLE, requirement, str(error))
    if exists:
        return Finding(State.OK, requirement)
    advice = "make images REGISTRY=... TAG=... builds and pushes it (docs/images.md)"
    return Finding(State.MISSING, requirement, advice)
