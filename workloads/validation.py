"""What of a workload's class can be wrong before any row is read, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from continuous_training.core.errors import UserError

from .contract import Column, Workload

TASKS = ("classification", "regression")
_TEXTS = ("name", "summary", "task", "key", "target", "default_source", "prediction")


def check_workload(found: type[Workload], where: str, name: str) -> None:
    """Return when the class says all that a workload has to say; UserError with every mistake otherwise.

    `where` is its file, `name` its folder's.
    """
    wrong = list(_missing(found)) or list(_mistakes(found, name))
    if wrong:
        raise UserError(f"{where}, class {found.__name__}: " + "; ".join(wrong))


def _missing(found: type[Workload]) -> Iterator[str]:
    for attribute in (*_TEXTS, "columns", "handler", "rule"):
        if not hasattr(found, attribute):
            yield f"has no {attribute} (docs/workloads.md lists what it needs)"
    for method in sorted(found.__abstractmethods__):
        yield f"has no method {method}"
    for attribute in _TEXTS:
        if not isinstance(getattr(found, attribute, ""), str):
            yield f"{attribute} is {getattr(found, attribute)!r}, and must be text"


def _mistakes(found: type[Workload], name: str) -> Iterator[str]:
    if found.name != name or not re.fullmatch(r"[a-z][a-z0-9]{0,40}", name):
        yield (
            f"the workload's name is {found.name!r} and its folder {name!r}; they must be the same, small "
            "letters and digits"
        )
    if found.task not in TASKS:
        yield f"task is {found.task!r}{_near(found.task, TASKS)}; it is one of {', '.join(TASKS)}"
    if not found.columns or not all(isinstance(column, Column) for column in found.columns):
        yield "columns is no tuple of Column"
        return
    columns = [column.name for column in found.columns]
    for attribute in ("key", "target"):
        value = getattr(found, attribute)
        if value not in columns:
            yield f"{attribute} is {value!r}{_near(value, columns)}; the columns are {', '.join(columns)}"
    outputs = [tensor.name for tensor in found.handler.outputs]
    if found.prediction not in outputs:
        yield (
            f"prediction is {found.prediction!r}{_near(found.prediction, outputs)}; the handler's outputs "
            f"are {', '.join(outputs)}"
        )


def _near(word: str, words: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
