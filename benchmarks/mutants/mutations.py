"""The mutants of a module: copies of its source with one small change each."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
"""The boundary shifted, and the opposite."""
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_Change = Callable[[ast.AST], None]


@dataclass(frozen=True)
class Mutant:
    """A changed source, the line of the change, and the line's text before it and after it."""

    source: str
    line: int
    before: str
    after: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield mutants of comparisons, and, or, not, numbers, booleans, arithmetic, calls and their order."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            target = next(item for index, item in enumerate(ast.walk(changed)) if index == number)
            before = ast.unparse(target)
            change(target)
            ast.fix_missing_locations(changed)
            yield Mutant(
                ast.unparse(changed), getattr(node, "lineno", 0), *_difference(before, ast.unparse(target))
            )


def _changes(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            yield from (_item("ops", index, new()) for new in _COMPARISONS.get(type(operator), ()))
    elif isinstance(node, ast.BoolOp):
        yield _field("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _field("operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield _field("op", _ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _field("value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield from (_field("value", node.value + step) for step in (1, -1))
    for block in ("body", "orelse", "finalbody"):
        statements = getattr(node, block, None)
        if isinstance(statements, list):
            yield from _statement_changes(block, statements)


def _statement_changes(block: str, statements: list[ast.stmt]) -> Iterator[_Change]:
    """Yield the removal of each statement without a result, and the exchange of two of them."""
    removable = [isinstance(s, ast.Raise | ast.AugAssign) or _is_call(s) for s in statements]
    yield from (_item(block, index, ast.Pass()) for index, can in enumerate(removable) if can)
    for index, pair in enumerate(pairwise(removable)):
        if all(pair):
            yield _exchange(block, index)


def _is_call(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def _field(name: str, value: object) -> _Change:
    return lambda node: setattr(node, name, value)


def _item(name: str, index: int, value: object) -> _Change:
    def change(node: ast.AST) -> None:
        getattr(node, name)[index] = value

    return change


def _exchange(name: str, index: int) -> _Change:
    def change(node: ast.AST) -> None:
        items = getattr(node, name)
        items[index], items[index + 1] = items[index + 1], items[index]

    return change


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the first line that differs, before and after."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next(((old.strip(), new.strip()) for old, new in pairs if old != new), (before, after))
