"""The events of a workload's champions, in order: evaluated runs, rollbacks and manual moves of the alias."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from continuous_training.adapters.run_history import Record
from continuous_training.artifacts.measurements import Interval
from continuous_training.core.files import plain
from continuous_training.operations.champion_history import PROMOTION, ChampionHistory

_LATEST = datetime.max.replace(tzinfo=UTC)
"""The time of a manual move after the last record, which has no time of its own."""


@dataclass(frozen=True)
class Event:
    """One event. `kind` is the verdict of a run, or the kind of a move that is not a promotion.

    `measured` is the primary metric of the run's challenger. `champion` is the champion after the event, and
    `champion_metric` its primary metric in the run that promoted it.
    """

    when: str
    kind: str
    run: str
    version: str | None
    measured: Interval | None
    champion: str | None
    champion_metric: Interval | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields under their keys in --json, with null for NaN."""
        content = {
            "when": self.when,
            "kind": self.kind,
            "run": self.run,
            "version": self.version,
            "measured": vars(self.measured) if self.measured else None,
            "champion": self.champion,
            "standing": vars(self.champion_metric) if self.champion_metric else None,
            "why": self.reason,
        }
        json_ready: dict[str, Any] = plain(content)
        return json_ready


@dataclass(frozen=True)
class _Occurrence:
    """An event before the champion is known that it leaves."""

    time: datetime
    kind: str
    run: str
    version: str | None
    measured: Interval | None
    reason: str


def list_events(records: Iterable[Record], history: ChampionHistory, metric: str) -> list[Event]:
    """Return the events in order. Runs that evaluated no model are left out.

    `metric` is the name of the primary metric.
    """
    evaluated = [record for record in records if record["verdict"] in ("promoted", "rejected", "failed")]
    recorded = {record["run"] for record in evaluated}
    runs = [
        _Occurrence(
            time=_parse_time(record["ended"]),
            kind=record["verdict"],
            run=record["run"],
            version=record.get("version"),
            measured=_measured(record, metric),
            reason="; ".join(record.get("reasons") or []),
        )
        for record in evaluated
    ]
    moves = [
        _Occurrence(
            time=_parse_time(move.when),
            kind="promoted" if move.kind == PROMOTION else move.kind,
            run=move.run,
            version=move.to_version,
            measured=None,
            reason=move.reason,
        )
        for move in history.moves
        if move.kind != PROMOTION or move.run not in recorded
    ]
    return list(_with_champions(sorted(runs + moves, key=lambda occurrence: occurrence.time)))


def _with_champions(occurrences: list[_Occurrence]) -> Iterator[Event]:
    champion: str | None = None
    promoted: dict[str | None, Interval | None] = {}
    for occurrence in occurrences:
        if occurrence.kind == "promoted":
            promoted[occurrence.version] = occurrence.measured
        if occurrence.kind not in ("rejected", "failed"):
            champion = occurrence.version
        yield Event(
            when="" if occurrence.time == _LATEST else occurrence.time.isoformat(),
            kind=occurrence.kind,
            run=occurrence.run,
            version=occurrence.version,
            measured=occurrence.measured,
            champion=champion,
            champion_metric=promoted.get(champion),
            reason=occurrence.reason,
        )


def _parse_time(time: str) -> datetime:
    if not time:
        return _LATEST
    parsed = datetime.fromisoformat(time)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _measured(record: Record, metric: str) -> Interval | None:
    interval = (record.get("metrics") or {}).get(metric)
    if not interval:
        return None
    value, low, high = (
        math.nan if interval[key] is None else float(interval[key]) for key in ("value", "low", "high")
    )
    return Interval(value, low, high)
