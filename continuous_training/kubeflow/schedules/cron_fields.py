"""The fields of a cron expression: their numbers, and their text for the parser of the server.

Kubeflow Pipelines uses version 1.2.0 of https://pkg.go.dev/github.com/robfig/cron. An item that this parser
rejects is rewritten if it has one meaning: weekday 7 and ranges that pass the end of the field (22-2). All
other items are rejected, so that the server never reads an expression in another way than Unix cron does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from continuous_training.core.errors import UserError

_ITEM = re.compile(
    r"(?P<star>[*?])?(?P<start>[0-9]+|[A-Z]+)?(?:-(?P<end>[0-9]+|[A-Z]+))?(?:/(?P<step>[0-9]+))?",
    re.IGNORECASE | re.ASCII,
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class CronField:
    """A field of a cron expression: its name, its range, and the names of its numbers from `first`.

    `largest` is the largest accepted number, if it is another name for `first`: 7 is Sunday.
    """

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    largest: int = 0

    @property
    def size(self) -> int:
        """The count of the field's numbers."""
        return self.last - self.first + 1


DAY = CronField("day of month", 1, 31)
MONTH = CronField("month", 1, 12, _MONTHS)
WEEKDAY = CronField("weekday", 0, 6, _WEEKDAYS, largest=7)
FIELDS = (
    CronField("second", 0, 59),
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    DAY,
    MONTH,
    WEEKDAY,
)


@dataclass(frozen=True)
class FieldValue:
    """A parsed field: its text for the server, its sorted numbers, and whether one of its items is `*`."""

    text: str
    numbers: tuple[int, ...]
    has_star: bool


def parse_field(field: CronField, text: str, *, unix: bool) -> FieldValue:
    """Parse a field. `unix` rejects syntax that Unix cron does not have. Raises UserError."""
    parsed = [_parse_item(field, item, unix=unix) for item in text.split(",")]
    if len(parsed) > 1 and any(value.has_star and len(value.numbers) == field.size for value in parsed):
        raise _error(field, text, "the list contains *, which is every value: write * alone")
    return FieldValue(
        ",".join(value.text for value in parsed),
        tuple(sorted({number for value in parsed for number in value.numbers})),
        any(value.has_star for value in parsed),
    )


def _parse_item(field: CronField, item: str, *, unix: bool) -> FieldValue:
    match = _ITEM.fullmatch(item)
    if match is None or bool(match["star"]) == bool(match["start"]) or (match["star"] and match["end"]):
        raise _error(field, item, _syntax(field))
    step = int(match["step"] or 1)
    if step == 0:
        raise _error(field, item, "the step must be at least 1")
    if match["star"]:
        if match["star"] == "?" and field not in (DAY, WEEKDAY):
            raise _error(field, item, _syntax(field))
        return FieldValue(item, tuple(range(field.first, field.last + 1, step)), has_star=True)
    start = end = _number(field, match["start"], item)
    if match["end"]:
        end = _number(field, match["end"], item)
    elif match["step"]:
        if unix:
            example = f"{match['start']}-{field.last}/{step}"
            raise _error(field, item, f"a step requires a range: write {example}, or {start} without a step")
        end = field.last
    return _range(field, item, start, end, step)


def _range(field: CronField, item: str, start: int, end: int, step: int) -> FieldValue:
    if start <= end <= field.last:
        return FieldValue(item, tuple(range(start, end + 1, step)), has_star=False)
    if start > end:
        if field is DAY and step > 1:
            raise _error(field, item, "months differ in length: list the days, for example 25,27,29,1,3")
        end += field.size
    numbers = [(number - field.first) % field.size + field.first for number in range(start, end + 1, step)]
    distinct = tuple(dict.fromkeys(numbers))
    return FieldValue(",".join(map(str, distinct)), distinct, has_star=False)


def _number(field: CronField, text: str, item: str) -> int:
    if text.upper() in field.names:
        return field.names.index(text.upper()) + field.first
    if not text.isdigit() or not field.first <= int(text) <= (field.largest or field.last):
        raise _error(field, item, _syntax(field))
    return int(text)


def _syntax(field: CronField) -> str:
    name = f" or names such as {field.names[1]}" if field.names else ""
    return (
        f"use numbers from {field.first} to {field.largest or field.last}{name}, ranges (1-5), lists (1,3) "
        "and steps (*/2, 1-5/2)"
    )


def _error(field: CronField, text: str, reason: str) -> UserError:
    return UserError(f"{field.name} {text!r}: {reason}")
