"""A model of the cron parser of Kubeflow Pipelines: robfig/cron 1.2.0, with seconds."""

from __future__ import annotations

from dataclasses import dataclass

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
BOUNDS = [
    (0, 59, {}),
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(WEEKDAYS)}),
]


@dataclass(frozen=True)
class ServerCron:
    """The numbers of each field, and whether day of month and weekday must both match."""

    fields: list[set[int]]
    both_days: bool


def parse(expression: str) -> ServerCron:
    """Return what the server understands. ValueError if the server rejects the expression."""
    texts = expression.split()
    if len(texts) not in (5, 6):
        raise ValueError(f"Expected 5 to 6 fields, found {len(texts)}: {expression}")
    texts += ["*"] * (6 - len(texts))
    fields = [_field(text, *bounds) for text, bounds in zip(texts, BOUNDS, strict=True)]
    both_days = any(item[0] in "*?" for index in (3, 5) for item in texts[index].split(",") if item)
    return ServerCron(fields, both_days)


def _field(text: str, first: int, last: int, names: dict[str, int]) -> set[int]:
    numbers: set[int] = set()
    for item in filter(None, text.split(",")):
        span, *steps = item.split("/")
        low, *high = span.split("-")
        if low in ("*", "?"):
            start, end = first, last
        else:
            start = _number(low, names)
            end = _number(high[0], names) if high else last if steps else start
        step = int(steps[0]) if steps else 1
        if len(steps) > 1 or len(high) > 1 or not first <= start <= end <= last or step < 1:
            raise ValueError(f"invalid item {item}")
        numbers |= set(range(start, end + 1, step))
    return numbers


def _number(text: str, names: dict[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else int(text)
