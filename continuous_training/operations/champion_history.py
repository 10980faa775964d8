"""The champions of a workload over time, and the version to which a rollback goes.

The history is derived from the moves of the alias `champion` that the registry records. A promotion adds a
version to the end of the rollback path. A rollback removes every version after the one that it goes to, so
that a later rollback never goes to a version that was rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from continuous_training.adapters.model_registry import CHAMPION, ROLLBACK
from continuous_training.artifacts.alias_move import AliasMove
from continuous_training.artifacts.processed_inputs_restore import truncate_path

PROMOTION, MANUAL = "promotion", "by hand"
"""Kinds of moves besides ROLLBACK. `--json` prints them."""


@dataclass(frozen=True)
class ChampionMove:
    """The alias `champion` moved from one version to another (None: no champion).

    `kind` is PROMOTION, ROLLBACK or MANUAL. A manual move has no record: its time may be unknown ("").
    """

    time: str
    from_version: str | None
    to_version: str | None
    kind: str
    reason: str = ""
    run: str = ""
    user: str = ""


@dataclass(frozen=True)
class ChampionHistory:
    """The moves in order, and the rollback path: the versions to go back along, the champion last."""

    moves: tuple[ChampionMove, ...]
    path: tuple[str, ...]
    champion: str | None

    @property
    def previous(self) -> str | None:
        """The version to which a rollback goes, or None if there is no earlier champion."""
        return self.path[-2] if len(self.path) > 1 else None

    def previous_after_rollback(self, version: str) -> str | None:
        """Return the version to which the next rollback goes after one to `version`, or None."""
        path = truncate_path(self.path, version)
        return path[-2] if len(path) > 1 else None

    def discarded_by_rollback(self, version: str) -> list[str]:
        """Return the champions that are not on the rollback path after a rollback to `version`."""
        return sorted(self.champions() - {*truncate_path(self.path, version)}, key=int)

    def last_move_to_champion(self) -> ChampionMove | None:
        """Return the latest move to the current champion, or None if there is no move."""
        return next((move for move in reversed(self.moves) if move.to_version == self.champion), None)

    def last_move(self) -> ChampionMove | None:
        """Return the latest move, or None if there is no move."""
        return self.moves[-1] if self.moves else None

    def champions(self) -> set[str]:
        """Return every version that is or was the champion."""
        return {move.to_version for move in self.moves if move.to_version}


def read_champion_history(trail: Iterable[AliasMove], champion: str | None) -> ChampionHistory:
    """Return the history from the registry's record of moves. `champion` is the alias's version now."""
    moves = tuple(_completed_moves(list(trail), champion))
    path: tuple[str, ...] = ()
    for move in moves:
        if move.to_version is None:
            continue
        promoted = move.kind == PROMOTION
        path = (*path, move.to_version) if promoted else truncate_path(path, move.to_version)
    return ChampionHistory(moves, path, champion)


def _completed_moves(trail: list[AliasMove], champion: str | None) -> Iterable[ChampionMove]:
    """Yield the moves that were completed, and the moves that were made without a record.

    A move is recorded before the alias moves. If the next record starts from the same version, or the alias
    is still at that version, the move has failed. If the next record starts from another version, the alias
    was moved manually in between. A record from no champion after a record from no champion means that the
    alias was removed manually, unless both records are the same move, which was then repeated.
    """
    records = [record for record in trail if record.alias == CHAMPION]
    current = None
    for number, record in enumerate(records):
        is_last = number + 1 == len(records)
        next_from = champion if is_last else records[number + 1].from_version
        next_to = None if is_last else records[number + 1].to_version
        if record.from_version != current:
            yield ChampionMove(record.time, current, record.from_version, MANUAL)
        current = record.from_version
        if next_from == current != record.to_version and (current or next_to == record.to_version):
            continue
        kind = ROLLBACK if record.kind == ROLLBACK else PROMOTION
        yield ChampionMove(
            record.time, current, record.to_version, kind, record.reason, record.run, record.user
        )
        current = record.to_version
    if current != champion:
        yield ChampionMove("", current, champion, MANUAL)
