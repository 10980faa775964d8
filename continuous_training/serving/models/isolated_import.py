"""Import of a bundle's code under a package name that is unique in the process."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from continuous_training.artifacts.handler_packaging import relative_imports

_numbers = itertools.count(1)
_meta_path_lock = threading.Lock()


class IsolatedPackage:
    """A finder that imports the modules of one folder below a unique package name.

    Two bundles with a module of the same name can be loaded in one process, and neither imports the
    installed package of that name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = f"_bundle_{next(_numbers)}"
        root = ModuleType(self.package)
        root.__path__ = [str(folder)]
        sys.modules[self.package] = root
        # Other threads import at the same time, and each iterates over the list: it is replaced, not changed.
        with _meta_path_lock:
            sys.meta_path = [self, *sys.meta_path]

    def load(self, module: str) -> ModuleType:
        """Import a module of the folder by its dotted name in the folder."""
        return import_module(f"{self.package}.{module}")

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module of this folder (the interface of `sys.meta_path` finders)."""
        package, _, module = name.partition(".")
        if package != self.package or not module:
            return None
        base = self.folder.joinpath(*module.split("."))
        for file, is_package in ((base / "__init__.py", True), (base.with_suffix(".py"), False)):
            if file.is_file():
                search_locations = [str(base)] if is_package else None
                loader = _UncachedSourceLoader(name, str(file))
                return spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=search_locations
                )
        return None

    def unload(self) -> None:
        """Remove the modules from the process. Functions that are still referenced stay usable."""
        with _meta_path_lock:
            sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        # The copy is one step of the interpreter, so that imports of other threads do not change it.
        for name in list(sys.modules):
            if name == self.package or name.startswith(f"{self.package}."):
                sys.modules.pop(name, None)


class _UncachedSourceLoader(SourceFileLoader):
    """Compiles the source at each import. It neither reads nor writes bytecode files in the bundle."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        if not self.is_package(fullname):
            relative_imports(source, fullname.partition(".")[2], self.path)
        return self.source_to_code(source, self.path)
