"""The champion line: which version was champion when, and which one stands behind the present one.

It is read from the trail that each move of the alias leaves in the registry. A promotion puts a version
in front; a rollback takes away what stood in front of the version that it goes back to, so that a
rolled back version is never come back to by going back further.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from continuous_training.adapters.model_registry import CHAMPION, ROLLBACK

PROMOTION, BY_HAND = "promotion", "by hand"


@dataclass(frozen=True)
class Move:
    """The champion's alias went from one version to another; `kind` is promotion, rollback or by hand."""

    when: str
    source: str | None
    to: str | None
    kind: str
    why: str = ""
    run: str = ""
    by: str = ""


@dataclass(frozen=True)
class Line:
    """The moves in order, and `way`: the versions to go back along, the present champion last."""

    moves: tuple[Move, ...]
    way: tuple[str, ...]
    champion: str | None

    @property
    def before(self) -> str | None:
        """The version that a rollback goes to; None when nothing stands behind the champion."""
        return self.way[-2] if len(self.way) > 1 else None

    def behind(self, version: str) -> str | None:
        """Return what stands behind a version once it is gone back to; None for nothing."""
        way = _went_to(self.way, version)
        return way[-2] if len(way) > 1 else None

    def left_behind(self, version: str) -> list[str]:
        """Return the former champions that are not come back to by going back further from this one."""
        return sorted(self.promoted() - {*_went_to(self.way, version)}, key=int)

    def since(self) -> Move | None:
        """Return the move that made the present champion what it is."""
        return next((move for move in reversed(self.moves) if move.to == self.champion), None)

    def last(self) -> Move | None:
        """Return the newest move, None when there was none."""
        return self.moves[-1] if self.moves else None

    def promoted(self) -> set[str]:
        """Return every version that ever was champion."""
        return {move.to for move in self.moves if move.to}


def read_line(trail: Iterable[Mapping[str, Any]], champion: str | None) -> Line:
    """Return the line that the registry's trail tells; `champion` is where the alias is now."""
    moves = tuple(_really(list(trail), champion))
    way: tuple[str, ...] = ()
    for move in moves:
        if move.to is None:
            continue
        way = (*way, move.to) if move.kind == PROMOTION else _went_to(way, move.to)
    return Line(moves, way, champion)


def _went_to(way: tuple[str, ...], version: str) -> tuple[str, ...]:
    """Cut the way behind the version; one that was cut away before goes behind no later one."""
    if version in way:
        return way[: len(way) - way[::-1].index(version)]
    return (*(number for number in way if int(number) < int(version)), version)


def _really(trail: list[Mapping[str, Any]], champion: str | None) -> Iterable[Move]:
    """Yield the moves that came about, and those that somebody made past the trail.

    The trail is written before the alias moves. Where the next entry starts from the same place, or the
    alias still is there, the move has failed; where it starts from elsewhere, a hand has moved it. From no
    champion to no champion is taken for a hand that took the alias away, unless the move is tried again.
    """
    told = [entry for entry in trail if entry["alias"] == CHAMPION]
    at = None
    for number, entry in enumerate(told):
        after = told[number + 1] if number + 1 < len(told) else {"from": champion, "to": None}
        if entry["from"] != at:
            yield Move(entry["when"], at, entry["from"], BY_HAND)
        at = entry["from"]
        if after["from"] == at != entry["to"] and (at or after["to"] == entry["to"]):
            continue
        kind = ROLLBACK if entry.get("kind") == ROLLBACK else PROMOTION
        words = (str(entry.get(key) or "") for key in ("why", "run", "by"))
        yield Move(entry["when"], at, entry["to"], kind, *words)
        at = entry["to"]
    if at != champion:
        yield Move("", at, champion, BY_HAND)
