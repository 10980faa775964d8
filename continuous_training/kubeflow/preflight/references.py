"""The cluster objects and images to which a compiled pipeline refers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from continuous_training.core.json_object import Json

_SOURCES = {
    "configMapAsEnv": ("ConfigMap", "configMapName"),
    "configMapAsVolume": ("ConfigMap", "configMapName"),
    "secretAsEnv": ("Secret", "secretName"),
    "secretAsVolume": ("Secret", "secretName"),
    "imagePullSecret": ("Secret", "secretName"),
    "pvcMount": ("PersistentVolumeClaim", "constant"),
}
"""The lists in an executor's platform settings: the kind of the objects, and the field with their name."""


@dataclass(frozen=True, order=True)
class Reference:
    """A reference of a step to an object. Steps start without an object whose reference is optional."""

    kind: str
    name: str
    optional: bool


def object_references(text: str) -> list[Reference]:
    """Return one reference for each object that a compiled pipeline (YAML) names, sorted.

    A reference is optional only if it is optional for all steps. A name that is known only at run time
    (from a parameter or another task) is left out.
    """
    optional: dict[tuple[str, str], bool] = {}
    for reference in _executor_references(text):
        key = (reference.kind, reference.name)
        optional[key] = optional.get(key, True) and reference.optional
    return sorted(Reference(kind, name, value) for (kind, name), value in optional.items())


def pipeline_name(text: str) -> str:
    """Return the name of a compiled pipeline, which is that of its workload."""
    return str(_documents(text)[0]["pipelineInfo"]["name"])


def image_references(text: str) -> list[str]:
    """Return each image of a compiled pipeline once, sorted."""
    executors = _documents(text)[0]["deploymentSpec"]["executors"].values()
    return sorted({executor["container"]["image"] for executor in executors if "container" in executor})


def _executor_references(text: str) -> Iterator[Reference]:
    for document in _documents(text)[1:]:
        kubernetes = document.get("platforms", {}).get("kubernetes", {})
        for settings in kubernetes.get("deploymentSpec", {}).get("executors", {}).values():
            for key, (kind, field) in _SOURCES.items():
                for entry in settings.get(key, []):
                    name = entry.get(field) or _constant(entry, field)
                    if name:
                        yield Reference(kind, str(name), bool(entry.get("optional")))


def _constant(entry: Json, field: str) -> str | None:
    """Return the name that newer SDKs write as a parameter with a constant value."""
    value = entry.get(f"{field}Parameter", {}).get("runtimeValue", {}).get("constant")
    return value if isinstance(value, str) else None


def _documents(text: str) -> list[Json]:
    return list(yaml.safe_load_all(text))
