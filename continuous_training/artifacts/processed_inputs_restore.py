"""Restore a damaged record of processed inputs from the records of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord

_PROCESSED = ("promoted", "rejected", "waiting")
"""The verdicts of runs that processed their inputs."""


def truncate_path(path: tuple[str, ...], version: str) -> tuple[str, ...]:
    """Return the rollback path after a rollback to `version`.

    A version that is not on the path replaces all versions of higher number.
    """
    if version in path:
        return path[: len(path) - path[::-1].index(version)]
    return (*(number for number in path if int(number) < int(version)), version)


def restore_processed(input_digest: str, records: Sequence[RunRecord]) -> ProcessedInputs | None:
    """Return the record of the run that last processed these inputs, or None if no run record has them.

    `records` are the records of all runs, the oldest first. A version that a later rollback discarded is
    withdrawn, so that no run promotes it again on the same data.
    """
    runs = [r for r in records if r.input_digest == input_digest and r.verdict in _PROCESSED]
    if not runs:
        return None
    processed = ProcessedInputs(replace(runs[-1], ended=""))
    promoted = runs[-1].verdict == "promoted"
    rollback = _discarding_rollback(runs[-1].version, records) if promoted else None
    return processed if rollback is None else processed.withdraw(rollback)


def _discarding_rollback(version: str | None, records: Iterable[RunRecord]) -> str | None:
    """Return the run id of the rollback that discarded the version, or None if it is on the path."""
    path: tuple[str, ...] = ()
    discarding = None
    for record in records:
        if record.rollback:
            path = truncate_path(path, record.rollback.to_version.version)
            discarding = None if version in path else discarding or record.run
        elif record.verdict == "promoted" and record.version:
            path = (*path, record.version)
            discarding = None if record.version == version else discarding
    return discarding if version else None
