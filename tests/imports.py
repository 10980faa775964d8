"""The import graph of the product, read from its source files."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipelines", "serving", "components", "workloads", "continuous_training")


class Import(NamedTuple):
    """An import of a module of the product by another module of the product."""

    importer: str
    imported: str


def module_name(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files() -> list[Path]:
    """Return the Python files of the product, sorted."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported_names(path: Path) -> set[str]:
    """Return every name that a file imports, as `module` or `module.attribute`."""
    module = module_name(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def import_graph() -> set[Import]:
    """Return the imports between modules of the product, including those inside functions."""
    modules = {module_name(path): path for path in source_files()}
    graph = set()
    for module, path in modules.items():
        for name in imported_names(path):
            imported = name if name in modules else name.rpartition(".")[0]
            if imported in modules and imported != module:
                graph.add(Import(module, imported))
    return graph


def cycles(graph: set[Import]) -> list[list[str]]:
    """Return the groups of modules that import each other (strongly connected components)."""
    edges: dict[str, set[str]] = {}
    for importer, imported in graph:
        edges.setdefault(importer, set()).add(imported)
        edges.setdefault(imported, set())
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for imported in edges[module]:
            if imported not in index:
                visit(imported)
                low[module] = min(low[module], low[imported])
            elif imported in stack:
                low[module] = min(low[module], index[imported])
        if low[module] == index[module]:
            position = stack.index(module)
            group, stack[position:] = stack[position:], []
            if len(group) > 1:
                groups.append(sorted(group))

    for module in sorted(edges):
        if module not in index:
            visit(module)
    return groups
