"""Copy a handler's source, and the modules that it imports relatively, into a bundle."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from continuous_training.artifacts.errors import ArchiveError

LIBRARIES = {"numpy", "onnxruntime", "faiss", "PIL"}
"""The libraries that a handler may import in addition to the standard library: every server has them."""


@dataclass(frozen=True)
class RelativeImport:
    """One relative import: the absolute name of its module, the imported names, and the line."""

    module: str
    names: tuple[str, ...]
    line: int


def copy_handler(handler: type, into: Path) -> None:
    """Copy the handler's module and all modules that it imports relatively into `into`, as a package tree.

    Every `__init__.py` of the copy is empty, independent of the original, so that loading a handler loads
    nothing else. Raises ArchiveError for an import that the copy cannot resolve: an absolute import of the
    handler's own package, a missing module, or a name that only a package's `__init__.py` defines. The
    message names file and line.
    """
    for relative, source in sorted(handler_files(handler).items()):
        _write(into, relative, source)


def handler_files(handler: type) -> dict[Path, bytes]:
    """Return the files that `copy_handler` copies, by relative path. Raises the same errors.

    Call it before a training, so that an invalid handler fails early.
    """
    roots = _source_roots(handler)
    pending = [handler.__module__]
    visited: set[str] = set()
    files: dict[Path, bytes] = {}
    while pending:
        module = pending.pop()
        if module in visited:
            continue
        visited.add(module)
        path = _source_file(roots, module)
        files[_relative_path(module)] = source = path.read_bytes()
        for imported in relative_imports(source, module, str(path)):
            pending += _imported_modules(roots, imported, path)
        check_libraries(source, str(path))
    return files


def relative_imports(source: bytes, module: str, filename: str) -> list[RelativeImport]:
    """List the relative imports of a module's source, with absolute module names.

    Imports in an `if TYPE_CHECKING:` block are skipped. Raises ArchiveError when the source imports its own
    top-level package absolutely, which would load the installed package and not the copy in the archive, or
    when a relative import reaches above that package.
    """
    package = module.partition(".")[0]
    imports = []
    for node in _runtime_imports(ast.parse(source, filename)):
        if isinstance(node, ast.ImportFrom) and node.level:
            imports.append(_resolve(node, module, filename))
        for name in _absolute_names(node):
            if name.partition(".")[0] == package:
                raise ArchiveError(
                    f"{filename}:{node.lineno}: a handler's file imports {name} absolutely; import it "
                    f"relatively (from . import ...), so that the archive's own copy is used"
                )
    return imports


def check_libraries(source: bytes, filename: str) -> None:
    """Raise ArchiveError when the source imports a library that not every server has."""
    for node in _runtime_imports(ast.parse(source, filename)):
        for name in _absolute_names(node):
            library = name.partition(".")[0]
            if library not in LIBRARIES and library not in sys.stdlib_module_names:
                raise ArchiveError(
                    f"{filename}:{node.lineno}: a handler's file imports {name}, which servers do not have; "
                    f"it may import the standard library, {', '.join(sorted(LIBRARIES))}, and modules of its "
                    "own package relatively. Train with any library, and export the model (ONNX, numpy, JSON)"
                )


def _source_roots(handler: type) -> list[Path]:
    """Return the folders that contain the handler's top-level package, which may span several folders."""
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
    root = path.parents[handler.__module__.count(".")]
    package = sys.modules.get(handler.__module__.partition(".")[0])
    return [root, *(Path(folder).parent for folder in getattr(package, "__path__", []))]


def _relative_path(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")


def _source_file(roots: list[Path], module: str) -> Path:
    """Return the module's file, or its path below the first root when there is none."""
    candidates = [root / _relative_path(module) for root in roots]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _imported_modules(roots: list[Path], imported: RelativeImport, importer: Path) -> list[str]:
    """Return the modules that an import loads: its module, or the modules that it imports from a package."""
    if _source_file(roots, imported.module).is_file():
        return [imported.module]
    if not any((root / _relative_path(imported.module).with_suffix("")).is_dir() for root in roots):
        raise ArchiveError(
            f"{importer}:{imported.line}: there is no module {imported.module} beside the handler"
        )
    modules = [f"{imported.module}.{name}" for name in imported.names]
    for module in modules:
        if not _source_file(roots, module).is_file():
            raise ArchiveError(
                f"{importer}:{imported.line}: {module} is not a module. A package's __init__.py is empty in "
                f"the archive, so import the name from the module that defines it"
            )
    return modules


def _write(into: Path, relative: Path, source: bytes) -> None:
    target = into / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in relative.parents:
        if folder != Path():
            (into / folder / "__init__.py").write_bytes(b"")
    target.write_bytes(source)


def _runtime_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            for statement in node.orelse:
                yield from _runtime_imports(ast.Module([statement], []))
        else:
            yield from _runtime_imports(node)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else getattr(test, "attr", None)
    return name == "TYPE_CHECKING"


def _absolute_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if node.module and not node.level else []


def _resolve(node: ast.ImportFrom, module: str, filename: str) -> RelativeImport:
    package = module.split(".")[: -node.level]
    if not package:
        raise ArchiveError(
            f"{filename}:{node.lineno}: the import reaches above the handler's top-level package; keep "
            f"everything that a handler imports inside that package"
        )
    base = ".".join([*package, *([node.module] if node.module else [])])
    return RelativeImport(base, tuple(alias.name for alias in node.names), node.lineno)
