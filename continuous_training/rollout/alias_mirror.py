"""The registry's aliases, mirrored into the object store for servers that know no registry."""

from __future__ import annotations

from continuous_training.adapters import model_store
from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.object_store import ObjectStore


def mirror_aliases(registry: Registry, store: ObjectStore, name: str, run: str) -> None:
    """Let the store's `previous` and `champion` of a model name what the registry's do, the latter last.

    Doing it again changes nothing, and mends what was cut off.
    """
    for alias in (PREVIOUS, CHAMPION):
        version = registry.aliased(name, alias)
        if version is None:
            model_store.forget(store, name, alias)
        else:
            model_store.point(store, name, version.digest, run, alias)
