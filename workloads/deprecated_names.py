"""Modules that workloads may still import under their former names, with a DeprecationWarning.

These names were documented, so they keep working until version 0.4.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NEW_NAMES = {
    "adapters.errors": "continuous_training.core.errors",
    "adapters.object_store": "continuous_training.adapters.object_store",
    "adapters.postgres": "continuous_training.adapters.postgres",
    "adapters.sources": "continuous_training.adapters.data_sources",
    "workloads.checks": "workloads.validation",
    "workloads.parameters": "continuous_training.core.run_parameters",
    "workloads.peers": "workloads.distributed",
    "workloads.register": "workloads.discovery",
    "workloads.rule": "continuous_training.evaluation.promotion_rule",
    "workloads.stored_rows": "continuous_training.artifacts.parquet_rows",
    "workloads.tables": "workloads.csv_reader",
}
_PACKAGES = {name.partition(".")[0] for name in NEW_NAMES} - {"workloads"}


class _Finder(MetaPathFinder):
    """Resolves a former name after all other finders have failed, so an installed package has precedence."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in NEW_NAMES:
            return ModuleSpec(fullname, _Alias())
        if fullname in _PACKAGES:
            return ModuleSpec(fullname, _Alias(), is_package=True)
        return None


class _Alias(Loader):
    """Loads a module with the attributes of the module with the new name."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        new_name = NEW_NAMES.get(module.__name__)
        if new_name is None:
            return
        warnings.warn(
            f"the module {module.__name__} is now {new_name}; the former name works until version 0.4",
            DeprecationWarning,
            stacklevel=2,
        )
        target = importlib.import_module(new_name)

        def attribute(name: str) -> Any:
            return getattr(target, name)

        module.__dict__.update(__getattr__=attribute, __all__=[n for n in vars(target) if n[0] != "_"])


def install() -> None:
    """Make the deprecated names importable. Calling it again has no effect."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
