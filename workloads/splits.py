"""How a workload holds out rows: by the row's key, by group, or by time; and the parameters to change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from continuous_training.artifacts.split_rule import Kind
from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Parameter, Value, Values

from .columns import Column

_SECONDS = {"min": 60, "w": 7 * 86400, "d": 86400, "h": 3600, "s": 1}
DURATION = r"[1-9]\d{0,5}(w|d|h|min|s)"
_GROUP, _TIME, _HOLDOUT, _GAP = "split_group", "split_time", "split_holdout", "split_gap"
SPLIT_PARAMETERS = (_GROUP, _TIME, _HOLDOUT, _GAP)
"""The names of the run parameters that select the split. An empty value means: not used."""


@dataclass(frozen=True)
class KeySplit:
    """Hold out single rows, by the hash of their key."""

    kind: ClassVar[Kind] = "key"


@dataclass(frozen=True)
class GroupSplit:
    """Hold out whole groups: all rows with the same value in `column` are on the same side.

    Use it if rows of one patient, shop or session resemble each other, and the model is meant for others.
    """

    kind: ClassVar[Kind] = "group"
    column: str


@dataclass(frozen=True)
class TimeSplit:
    """Train on earlier rows and hold out the latest ones.

    `column` contains times: a text in ISO 8601 (UTC, if it has no offset) or a number of seconds since 1970.
    `holdout` is the period that is held out, such as "30d"; if empty, the share `test_size` of the rows is.
    Rows in the `gap` before this period, such as "7d", are used for neither side.
    """

    kind: ClassVar[Kind] = "time"
    column: str
    holdout: str = ""
    gap: str = ""


Split = KeySplit | GroupSplit | TimeSplit


def seconds(duration: str) -> int:
    """Return the seconds of a duration such as 30d; 0 for an empty text."""
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * _SECONDS[unit] if duration else 0


def split_parameters(split: Split) -> tuple[Parameter, ...]:
    """Return the run parameters that override the split; the defaults are the values of `split`."""
    group = split.column if isinstance(split, GroupSplit) else ""
    time = split if isinstance(split, TimeSplit) else TimeSplit("")
    return (
        Parameter(_GROUP, group, "column of the group whose rows stay on one side of the split; empty: none"),
        Parameter(_TIME, time.column, "column of the time after which rows are held out; empty: none"),
        _duration(_HOLDOUT, time.holdout, "with split_time: period that is held out; empty: test_size"),
        _duration(_GAP, time.gap, "with split_time: unused period before the holdout; empty: none"),
    )


def _duration(name: str, default: str, help_text: str) -> Parameter:
    return Parameter(name, default, help_text, pattern=DURATION, example="30d, 12h or 2w")


def override_split(values: Values, defaults: Mapping[str, Value], columns: Sequence[Column]) -> Split:
    """Return the split of a run. `defaults` are the default values of the run parameters.

    Raises UserError for a column that does not exist or cannot be used, and for a value that differs from
    its default but cannot have an effect.
    """
    group, time, holdout, gap = (str(values[name]) for name in SPLIT_PARAMETERS)
    if group and time:
        raise UserError(
            f"parameters {_GROUP}={group} and {_TIME}={time}: rows are split by group or by time, not by "
            f"both; set {_GROUP}= or {_TIME}= (empty)"
        )
    split: Split = GroupSplit(group) if group else TimeSplit(time, holdout, gap) if time else KeySplit()
    for name, reason in _without_effect(split):
        if values[name] != defaults[name]:
            raise UserError(
                f"parameter {name}: {values[name]} has no effect, because {reason}; omit the parameter"
            )
    for problem in split_problems(split, columns):
        raise UserError(f"parameter {_GROUP if group else _TIME}: {problem}")
    return split


def split_problems(split: object, columns: Sequence[Column]) -> Iterator[str]:
    """Yield the mistakes of a split: an unknown type, a column that cannot be used, an invalid duration."""
    if isinstance(split, KeySplit):
        return
    if not isinstance(split, GroupSplit | TimeSplit):
        yield f"split is {split!r}, but must be a KeySplit, GroupSplit or TimeSplit"
        return
    names = ", ".join(column.name for column in columns)
    kind = next((column.kind for column in columns if column.name == split.column), None)
    kinds = ("text", "integer") if isinstance(split, GroupSplit) else ("text", "integer", "number")
    if kind is None:
        yield f"there is no column {split.column!r} to split by; the columns are {names}"
    elif kind not in kinds:
        name = type(split).__name__
        yield f"the column {split.column} has the kind {kind}; a {name} needs {' or '.join(kinds)}"
    if isinstance(split, TimeSplit):
        parameters = {p.name: p for p in split_parameters(TimeSplit(""))}
        for name, duration in ((_HOLDOUT, split.holdout), (_GAP, split.gap)):
            try:
                parameters[name].parse(duration)
            except UserError as error:
                yield str(error)


def _without_effect(split: Split) -> Iterator[tuple[str, str]]:
    """Yield the name of each run parameter that has no effect on the split, with the reason."""
    if not isinstance(split, TimeSplit):
        yield from ((name, f"rows are not split by time ({_TIME} is empty)") for name in (_HOLDOUT, _GAP))
    elif split.holdout:
        yield "test_size", f"the latest {split.holdout} are held out ({_HOLDOUT})"
