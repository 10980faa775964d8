"""What a compiled pipeline names on its cluster: images, ConfigMaps, Secrets, volumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_SOURCES = {
    "configMapAsEnv": ("ConfigMap", "configMapName"),
    "configMapAsVolume": ("ConfigMap", "configMapName"),
    "secretAsEnv": ("Secret", "secretName"),
    "secretAsVolume": ("Secret", "secretName"),
    "imagePullSecret": ("Secret", "secretName"),
    "pvcMount": ("PersistentVolumeClaim", "constant"),
}
"""Where an executor's platform settings name an object: the list, its kind, and the field with its name."""


@dataclass(frozen=True, order=True)
class Named:
    """An object that steps name; an optional one may be absent, and they start all the same."""

    kind: str
    name: str
    optional: bool


def objects_of(text: str) -> list[Named]:
    """Return the objects that a compiled pipeline (YAML) names, each once, sorted.

    What one step can do without and another cannot is not optional. A name that is only known when the
    pipeline runs (from a parameter or another task) is left out.
    """
    found: dict[tuple[str, str], bool] = {}
    for named in _of_executors(text):
        key = (named.kind, named.name)
        found[key] = found.get(key, True) and named.optional
    return sorted(Named(kind, name, optional) for (kind, name), optional in found.items())


def images_of(text: str) -> list[str]:
    """Return the images of a compiled pipeline's steps, each once, sorted."""
    executors = _documents(text)[0]["deploymentSpec"]["executors"].values()
    return sorted({executor["container"]["image"] for executor in executors if "container" in executor})


def _of_executors(text: str) -> Iterator[Named]:
    for document in _documents(text)[1:]:
        kubernetes = document.get("platforms", {}).get("kubernetes", {})
        for settings in kubernetes.get("deploymentSpec", {}).get("executors", {}).values():
            for key, (kind, field) in _SOURCES.items():
                for entry in settings.get(key, []):
                    name = entry.get(field) or _constant(entry, field)
                    if name:
                        yield Named(kind, str(name), bool(entry.get("optional")))


def _constant(entry: dict[str, Any], field: str) -> str | None:
    """Return the name that newer SDKs write as a parameter with a constant value."""
    value = entry.get(f"{field}Parameter", {}).get("runtimeValue", {}).get("constant")
    return value if isinstance(value, str) else None


def _documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))
