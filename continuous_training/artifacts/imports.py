"""Which modules a handler's source imports from its own package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from continuous_training.serving.errors import ArchiveError

LIBRARIES = {"numpy", "onnxruntime", "faiss", "PIL"}
"""What a handler may import beside the standard library: a server has no more (extra `serving`)."""


@dataclass(frozen=True)
class Relative:
    """One relative import: the module it starts from, and the names taken from it."""

    module: str
    names: tuple[str, ...]
    line: int


def relative_imports(source: bytes, module: str, filename: str) -> list[Relative]:
    """List the relative imports of a module's source, resolved to full names.

    What only a type checker imports (`if TYPE_CHECKING:`) is left out. ArchiveError when the source
    imports its own top-level package absolutely, which would find the installed one and not the copy
    that travels in the archive, or reaches above that package.
    """
    top = module.partition(".")[0]
    found = []
    for node in _running(ast.parse(source, filename)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append(_resolve(node, module, filename))
        for name in _absolute(node):
            if name.partition(".")[0] == top:
                raise ArchiveError(
                    f"{filename}:{node.lineno}: a handler's file imports {name} absolutely; import it "
                    f"relatively (from . import ...), so that the archive's own copy is found"
                )
    return found


def check_libraries(source: bytes, filename: str) -> None:
    """Return when the source imports only what every server has; ArchiveError with its place otherwise."""
    for node in _running(ast.parse(source, filename)):
        for name in _absolute(node):
            top = name.partition(".")[0]
            if top not in LIBRARIES and top not in sys.stdlib_module_names:
                raise ArchiveError(
                    f"{filename}:{node.lineno}: a handler's file imports {name}, which servers lack; "
                    f"it may import the standard library, {', '.join(sorted(LIBRARIES))}, and its siblings "
                    "relatively. Train with what you like, and export it (ONNX, numpy, JSON)"
                )


def _running(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _type_checking(node.test):
            for other in node.orelse:
                yield from _running(ast.Module([other], []))
        else:
            yield from _running(node)


def _type_checking(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else getattr(test, "attr", None)
    return name == "TYPE_CHECKING"


def _absolute(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if node.module and not node.level else []


def _resolve(node: ast.ImportFrom, module: str, filename: str) -> Relative:
    package = module.split(".")[: -node.level]
    if not package:
        raise ArchiveError(
            f"{filename}:{node.lineno}: the import reaches above the handler's top-level package; keep "
            f"everything that a handler imports inside of that package"
        )
    base = ".".join([*package, *([node.module] if node.module else [])])
    return Relative(base, tuple(alias.name for alias in node.names), node.lineno)
