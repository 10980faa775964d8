"""The events of a workload's champions, in order: evaluated runs, rollbacks and manual moves of the alias."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json
from continuous_training.operations.champion_history import PROMOTION, ChampionHistory, ChampionMove

_LATEST = datetime.max.replace(tzinfo=UTC)
"""The time of a manual move after the last record, which has no time of its own."""


_UNCHANGED_CHAMPION = ("rejected", "waiting", "reverted", "failed")
"""The verdicts of runs that do not change the champion."""


@dataclass(frozen=True)
class Event:
    """One event. `kind` is the verdict of a run, or the kind of a move that is not a promotion.

    `measured` is the primary metric of the run's challenger. `champion` is the champion after the event, and
    `champion_metric` its primary metric in the run that promoted it. `trigger` is the caller who started the
    run with the trigger service, if any. `user` is the person who rolled back, empty for other events.
    """

    when: str
    kind: str
    run: str
    version: str | None
    measured: Interval | None
    champion: str | None
    champion_metric: Interval | None
    reason: str
    trigger: RunTrigger | None = None
    user: str = ""

    def to_json(self) -> Json:
        """Return the fields under their keys in --json, with null for NaN."""
        return {
            "when": self.when,
            "kind": self.kind,
            "run": self.run,
            "version": self.version,
            "measured": self.measured.to_json() if self.measured else None,
            "champion": self.champion,
            "standing": self.champion_metric.to_json() if self.champion_metric else None,
            "why": self.reason,
            **({"trigger": self.trigger.to_json()} if self.trigger else {}),
            **({"by": self.user} if self.user else {}),
        }


@dataclass(frozen=True)
class _Occurrence:
    """An event before the champion is known that it leaves."""

    time: datetime
    kind: str
    run: str
    version: str | None
    measured: Interval | None
    reason: str
    trigger: RunTrigger | None = None
    user: str = ""


def list_events(records: Iterable[RunRecord], history: ChampionHistory, metric: str) -> list[Event]:
    """Return the events in order. Runs that evaluated no model are left out.

    `records` and the moves of `history` are in order. `metric` is the name of the primary metric.
    """
    runs = list(records)
    evaluated = {record.run for record in runs if record.verdict in ("promoted", *_UNCHANGED_CHAMPION)}
    events = [
        (place, _run_occurrence(record, metric))
        for record, place in zip(runs, _places(runs, history.moves), strict=True)
        if record.run in evaluated
    ]
    events += [
        ((number, False), _move_occurrence(move))
        for number, move in enumerate(history.moves)
        if move.kind != PROMOTION or move.run not in evaluated
    ]
    return list(_with_champions([occurrence for _, occurrence in sorted(events, key=lambda event: event[0])]))


def _places(records: list[RunRecord], moves: tuple[ChampionMove, ...]) -> Iterator[tuple[int, bool]]:
    """Yield the place of each record among the moves: (n, False) is move n, and (n, True) is after it.

    A run that moved the champion has the place of its move. Another run is after the moves of all runs before
    it. Times decide only between a run and the moves without a record as a run.
    """
    recorded = {record.run for record in records}
    numbers = {move.run: number for number, move in enumerate(moves) if move.run}
    last = -1
    for record in records:
        last = max(last, numbers.get(record.run, -1))
        for move in moves[last + 1 :]:
            if move.run in recorded or _parse_time(move.time) > _parse_time(record.ended):
                break
            last += 1
        yield (numbers[record.run], False) if record.run in numbers else (last, True)


def _run_occurrence(record: RunRecord, metric: str) -> _Occurrence:
    return _Occurrence(
        time=_parse_time(record.ended),
        kind=record.verdict,
        run=record.run,
        version=record.version,
        measured=record.metrics.get(metric),
        reason="; ".join(record.reasons),
        trigger=record.trigger,
    )


def _move_occurrence(move: ChampionMove) -> _Occurrence:
    return _Occurrence(
        time=_parse_time(move.time),
        kind="promoted" if move.kind == PROMOTION else move.kind,
        run=move.run,
        version=move.to_version,
        measured=None,
        reason=move.reason,
        user=move.user,
    )


def _with_champions(occurrences: list[_Occurrence]) -> Iterator[Event]:
    champion: str | None = None
    promoted: dict[str | None, Interval | None] = {}
    for occurrence in occurrences:
        if occurrence.kind == "promoted":
            promoted[occurrence.version] = occurrence.measured
        if occurrence.kind not in _UNCHANGED_CHAMPION:
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
            trigger=occurrence.trigger,
            user=occurrence.user,
        )


def _parse_time(time: str) -> datetime:
    if not time:
        return _LATEST
    parsed = datetime.fromisoformat(time)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
