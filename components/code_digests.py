"""The digests of the modules under `workloads` that a workload imports, found by reading its imports.

Reading the code instead of importing it gives the same result in the image of every step: prep-data's image
has no torch, and functions may import modules later.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import workloads
from continuous_training.core.digest import digest_file
from workloads import discovery
from workloads.contract import Workload
from workloads.deprecated_names import NEW_NAMES

_ROOT = workloads.__name__
_IMPORT_FUNCTIONS = {"import_module", "__import__"}


@dataclass(frozen=True)
class _Module:
    name: str
    file: Path

    @property
    def is_package(self) -> bool:
        return self.file.name == "__init__.py"

    @property
    def package(self) -> str:
        """The package that relative imports of the module start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def path(self) -> str:
        """The file's path, for example `workloads/csv_reader.py`, the same on every machine."""
        return "/".join(self.name.split(".")) + ("/__init__.py" if self.is_package else ".py")


def module_digests(workload: Workload) -> dict[str, str]:
    """Return the sha256 by path of the workload's Python files, and of the modules that they import.

    A module counts if it is in a folder `workloads` on the Python path, and if it is imported by a statement,
    also in a function, or by `importlib.import_module` with a literal name.
    """
    modules = {module.name: module for module in _own_modules(workload)}
    waiting = list(modules.values())
    while waiting:
        for name in _imported_names(waiting.pop()):
            module = None if name in modules else _find(name)
            if module:
                modules[name] = module
                waiting.append(module)
    return {module.path: digest_file(module.file) for module in modules.values()}


def _own_modules(workload: Workload) -> Iterator[_Module]:
    """Yield each Python file in the workload's folder, because code may load a module by its name."""
    folder = discovery.folder_of(workload)
    package = str(sys.modules[type(workload).__module__].__package__)
    for file in sorted(folder.glob("**/*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        yield _Module(".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts))), file)


def _find(name: str) -> _Module | None:
    """Return the module of that name in a folder `workloads`, or None if there is none."""
    root, *parts = name.split(".")
    if root != _ROOT:
        return None
    for folder in workloads.__path__:
        base = Path(folder, *parts)
        for file in (base / "__init__.py", base.parent / f"{base.name}.py"):
            if file.is_file() and (parts or file.name == "__init__.py"):
                return _Module(name, file)
    return None


def _imported_names(module: _Module) -> Iterator[str]:
    """Yield the names of the modules that a module may import, and of their packages.

    `from package import name` may import the module `package.name`, so it is one of the names.
    """
    try:
        tree = ast.parse(module.file.read_bytes())
    except (SyntaxError, ValueError):
        return  # A file that cannot be compiled cannot be imported either.
    for name in _statements(tree, module):
        parts = NEW_NAMES.get(name, name).split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _statements(tree: ast.AST, module: _Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), module.package)
            yield base
            for alias in node.names:
                yield from _all_modules(base) if alias.name == "*" else (f"{base}.{alias.name}",)
        elif isinstance(node, ast.Call) and node.args and _function_name(node) in _IMPORT_FUNCTIONS:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield _absolute(argument.value, module.package)


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:  # It leads out of the top-level package, so Python cannot import it either.
        return name


def _all_modules(package: str) -> Iterator[str]:
    """Yield the modules in a package, of which `from package import *` may import each."""
    module = _find(package)
    if module and module.is_package:
        files = module.file.parent.glob("*.py")
        yield from (f"{package}.{file.stem}" for file in files if file != module.file)


def _function_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
