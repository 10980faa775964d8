"""A copy of the registry's aliases in the object store, for model servers without access to the registry."""

from __future__ import annotations

from continuous_training.adapters import model_store
from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.object_store import ObjectStore


def mirror_aliases(registry: Registry, store: ObjectStore, name: str, run: str) -> None:
    """Write the registry's `previous` and `champion` of a model to the store, `champion` last.

    The function is idempotent: a repeated call completes an interrupted one. `run` is the id of the run that
    moved the aliases.
    """
    for alias in (PREVIOUS, CHAMPION):
        version = registry.aliased(name, alias)
        if version is None:
            model_store.remove_alias(store, name, alias)
        else:
            model_store.set_alias(store, name, version.digest, run, alias)
