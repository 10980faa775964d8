"""The order of records that are written one after another, independent of the clock.

Each record stores its position, which is the number of the records before it. The records of earlier versions
have no position: they are ordered by their times, and fill the positions that no other record has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Record = TypeVar("Record")


def in_order(
    records: Iterable[Record], position: Callable[[Record], int | None], time: Callable[[Record], str]
) -> list[Record]:
    """Return the records, the oldest first. Records with the same position are ordered by their times."""
    by_time = sorted(records, key=time)
    positioned = sorted((r for r in by_time if position(r) is not None), key=lambda r: position(r) or 0)
    remaining = [record for record in by_time if position(record) is None]
    ordered: list[Record] = []
    for record in positioned:
        missing = (position(record) or 0) - len(ordered)
        ordered += remaining[: max(0, missing)]
        remaining = remaining[max(0, missing) :]
        ordered.append(record)
    return ordered + remaining


def next_position(positions: Iterable[int | None]) -> int:
    """Return the position of a new record after records with these positions."""
    existing = list(positions)
    return max([len(existing), *(position + 1 for position in existing if position is not None)])
