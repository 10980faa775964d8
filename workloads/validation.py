"""Validate a workload class before any row is read."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator

from continuous_training.core.errors import UserError
from continuous_training.evaluation.required_rows import rule_problems

from .contract import Column, Workload
from .splits import SPLIT_PARAMETERS, split_problems

TASKS = ("classification", "regression")
_TEXTS = ("name", "summary", "task", "key", "target", "default_source", "prediction")


def check_workload(workload: type[Workload], file: str, folder: str) -> None:
    """Raise UserError with all mistakes of a workload class that is defined in `file` of `folder`."""
    problems = list(_missing(workload)) or list(_mistakes(workload, folder))
    if problems:
        raise UserError(f"{file}, class {workload.__name__}: " + "; ".join(problems))


def _missing(workload: type[Workload]) -> Iterator[str]:
    for attribute in (*_TEXTS, "columns", "handler", "rule"):
        if not hasattr(workload, attribute):
            yield f"has no {attribute} (docs/workloads.md lists the required attributes)"
    for method in sorted(workload.__abstractmethods__):
        yield f"has no method {method}"
    for attribute in _TEXTS:
        if not isinstance(getattr(workload, attribute, ""), str):
            yield f"{attribute} is {getattr(workload, attribute)!r}, but must be a string"


def _mistakes(workload: type[Workload], folder: str) -> Iterator[str]:
    if workload.name != folder or not re.fullmatch(r"[a-z][a-z0-9]{0,40}", folder):
        yield (
            f"the workload's name is {workload.name!r} and its folder {folder!r}; they must be the same, "
            "with lower-case letters and digits"
        )
    if workload.task not in TASKS:
        yield f"task is {workload.task!r}{_suggestion(workload.task, TASKS)}; use one of {', '.join(TASKS)}"
    if not workload.columns or not all(isinstance(column, Column) for column in workload.columns):
        yield "columns is not a tuple of Column"
        return
    columns = [column.name for column in workload.columns]
    for attribute in ("key", "target"):
        value = getattr(workload, attribute)
        if value not in columns:
            names = ", ".join(columns)
            yield f"{attribute} is {value!r}{_suggestion(value, columns)}; the columns are {names}"
    outputs = [tensor.name for tensor in workload.handler.outputs]
    if workload.prediction not in outputs:
        yield (
            f"prediction is {workload.prediction!r}{_suggestion(workload.prediction, outputs)}; "
            f"the handler's outputs are {', '.join(outputs)}"
        )
    yield from split_problems(workload.split, workload.columns)
    for parameter in workload.own_parameters:
        if parameter.name in {"bad_rows", *SPLIT_PARAMETERS}:
            yield f"{parameter.name} is a run parameter of all workloads; rename the workload's own"
    limit = workload.bad_rows
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit < math.inf:
        yield f"bad_rows is {limit!r}; give a number of rows, or a share below 1"
    if workload.target in columns:
        yield from rule_problems(workload.rule, len(workload.column(workload.target).values))


def _suggestion(value: str, candidates: tuple[str, ...] | list[str]) -> str:
    matches = difflib.get_close_matches(value, candidates, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
