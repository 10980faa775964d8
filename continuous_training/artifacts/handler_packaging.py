"""Copying a handler's own source, and the modules that it imports relatively, into a bundle."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from continuous_training.artifacts.imports import Relative, check_libraries, relative_imports
from continuous_training.serving.errors import ArchiveError


def copy_handler(handler: type, into: Path) -> None:
    """Copy the handler's module and all that it imports relatively into `into`, as a package tree.

    Every `__init__.py` of the copy is empty, whatever the original held, so that loading a handler
    loads nothing else. ArchiveError (a UserError) names the file and line of an import that cannot
    travel: an absolute one of the handler's own package, a missing module, a name that only a
    package's `__init__.py` holds.
    """
    for relative, source in sorted(handler_files(handler).items()):
        _write(into, relative, source)


def handler_files(handler: type) -> dict[Path, bytes]:
    """Return the files that `copy_handler` copies; ArchiveError as it says.

    A training can be refused with it before it begins.
    """
    module = handler.__module__
    roots = _roots(handler)
    seen: set[str] = set()
    waiting = [module]
    files: dict[Path, bytes] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(roots, name)
        files[_relative(name)] = source = path.read_bytes()
        for found in relative_imports(source, name, str(path)):
            waiting += _modules(roots, found, path)
        check_libraries(source, str(path))
    return files


def _roots(handler: type) -> list[Path]:
    """Find the folders that hold the handler's top-level package: it may be spread over several."""
    module = sys.modules.get(handler.__module__)
    source = inspect.getsourcefile(module) if module else None
    if source is None or handler.__module__ == "__main__":
        raise ArchiveError(
            f"{handler.__module__}.{handler.__qualname__}: a handler must be defined in an importable "
            f"module with a source file; move it into one"
        )
    path = Path(source).resolve()
    if path.name == "__init__.py":
        raise ArchiveError(
            f"{path}: move {handler.__qualname__} into a module of its own, such as handler.py"
        )
    own = path.parents[handler.__module__.count(".")]
    top = sys.modules.get(handler.__module__.partition(".")[0])
    return [own, *(Path(folder).parent for folder in getattr(top, "__path__", []))]


def _relative(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")


def _file(roots: list[Path], module: str) -> Path:
    """Return the module's file; where it would be when there is none."""
    places = [root / _relative(module) for root in roots]
    return next((place for place in places if place.is_file()), places[0])


def _modules(roots: list[Path], found: Relative, importer: Path) -> list[str]:
    """Say which modules an import reads: the one it names, or those that it takes from a package."""
    if _file(roots, found.module).is_file():
        return [found.module]
    if not any((root / _relative(found.module).with_suffix("")).is_dir() for root in roots):
        raise ArchiveError(f"{importer}:{found.line}: there is no module {found.module} beside the handler")
    modules = [f"{found.module}.{name}" for name in found.names]
    for module in modules:
        if not _file(roots, module).is_file():
            raise ArchiveError(
                f"{importer}:{found.line}: {module} is not a module. A package's __init__.py travels "
                f"empty, so import the name from the module that defines it"
            )
    return modules


def _write(into: Path, relative: Path, source: bytes) -> None:
    target = into / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in relative.parents:
        if folder != Path():
            (into / folder / "__init__.py").write_bytes(b"")
    target.write_bytes(source)
