"""What happened to a workload's champion, in order: each judged run, each rollback, each move by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from continuous_training.evaluation.metrics import Interval
from continuous_training.operations.champion_history import PROMOTION, Line

_NAN = float("nan")


@dataclass(frozen=True)
class Event:
    """One happening; `kind` is a run's verdict, `rollback` or `by hand`, `champion` the one after it.

    `measured` is the primary metric of the run's challenger, `standing` the champion's own, from the run
    that promoted it.
    """

    when: str
    kind: str
    run: str
    version: str | None
    measured: Interval | None
    champion: str | None
    standing: Interval | None
    why: str


def events_of(records: Iterable[dict[str, Any]], line: Line, metric: str) -> list[Event]:
    """Return the events in order; runs that had nothing to judge are left out."""
    judged = [record for record in records if record["verdict"] in ("promoted", "rejected", "failed")]
    known = {record["run"] for record in judged}
    found = [
        (_time(r["ended"]), r["verdict"], r["run"], r.get("version"), _measured(r, metric), _why(r))
        for r in judged
    ]
    found += [
        (
            _time(move.when),
            "promoted" if move.kind == PROMOTION else move.kind,
            move.run,
            move.to,
            None,
            move.why,
        )
        for move in line.moves
        if move.kind != PROMOTION or move.run not in known
    ]
    # What was done by hand after everything else has no time of its own.
    return list(_standing(sorted(found, key=lambda row: row[0])))


def _standing(rows: list[tuple[datetime, str, str, str | None, Interval | None, str]]) -> Iterator[Event]:
    """Yield the events with the champion that each of them leaves."""
    champion: str | None = None
    promoted: dict[str | None, Interval | None] = {}
    for when, kind, run, version, measured, why in rows:
        if kind == "promoted":
            promoted[version] = measured
        if kind not in ("rejected", "failed"):
            champion = version
        shown = "" if when == datetime.max.replace(tzinfo=UTC) else when.isoformat()
        yield Event(shown, kind, run, version, measured, champion, promoted.get(champion), why)


def _time(when: str) -> datetime:
    given = datetime.fromisoformat(when) if when else datetime.max
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _measured(record: dict[str, Any], metric: str) -> Interval | None:
    found = (record.get("metrics") or {}).get(metric)
    if not found:
        return None
    return Interval(*(_NAN if found[key] is None else float(found[key]) for key in ("value", "low", "high")))


def _why(record: dict[str, Any]) -> str:
    return "; ".join(record.get("reasons") or [])
