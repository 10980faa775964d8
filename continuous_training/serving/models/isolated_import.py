"""Importing a bundle's own code under a name that nothing else in the process has."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from continuous_training.artifacts.handler_packaging import relative_imports

_numbers = itertools.count(1)


class IsolatedPackage:
    """Holds one folder's package tree, imported below a package name used by nothing else.

    The same module of two bundles lives side by side in one process, and neither sees the installed
    package of that name. `drop` makes the process forget the modules again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = f"_bundle_{next(_numbers)}"
        root = ModuleType(self.package)
        root.__path__ = [str(folder)]
        sys.modules[self.package] = root
        sys.meta_path.insert(0, self)

    def load(self, module: str) -> ModuleType:
        """Import a module of the folder by the name that it has there."""
        return import_module(f"{self.package}.{module}")

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module of this folder; the import system asks this of each finder in turn."""
        package, _, rest = name.partition(".")
        if package != self.package or not rest:
            return None
        place = self.folder.joinpath(*rest.split("."))
        for file, is_package in ((place / "__init__.py", True), (place.with_suffix(".py"), False)):
            if file.is_file():
                where = [str(place)] if is_package else None
                loader = _SourceOnly(name, str(file))
                return spec_from_file_location(name, file, loader=loader, submodule_search_locations=where)
        return None

    def drop(self) -> None:
        """Forget the modules; what still holds a function of them can go on calling it."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in [n for n in sys.modules if n == self.package or n.startswith(f"{self.package}.")]:
            del sys.modules[name]


class _SourceOnly(SourceFileLoader):
    """Compiles the source each time: bytecode is neither written into the bundle nor trusted there."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        if not self.is_package(fullname):
            relative_imports(source, fullname.partition(".")[2], self.path)
        return self.source_to_code(source, self.path)
