"""Decisions that are only remembered."""

from __future__ import annotations

import threading

from continuous_training.artifacts.run_record import RecordedRollback, RecordedVersion, RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.decisions import Decision, RollbackRequest


class MemoryDecisions:
    """Remembers the decisions. `failure` is raised by all of them, and they wait until `permitted` is set.

    A version is approved or rejected only once, and the champion is version 3 until it is rolled back.
    """

    def __init__(self) -> None:
        self.reviews: list[tuple[Decision, str, str, RunTrigger]] = []
        self.rollbacks: list[tuple[str, RollbackRequest, RunTrigger]] = []
        self.failure: HttpError | None = None
        self.permitted = threading.Event()
        self.permitted.set()

    def review(self, workload: str, run: str, decision: Decision, person: RunTrigger) -> RunRecord:
        self._wait()
        verdict = {"approve": "promoted", "reject": "rejected"}[decision]
        for earlier, _, _, first in (entry for entry in self.reviews if entry[2] == run):
            if earlier != decision:
                raise HttpError(409, f"the version of {run} no longer waits")
            return RunRecord(run=run, verdict="nothing to do", reasons=(f"{earlier} by {first.caller}",))
        self.reviews.append((decision, workload, run, person))
        reason = f"{decision} by {person.caller}"
        return RunRecord(run=run, verdict=verdict, reasons=(reason,))

    def roll_back(self, workload: str, request: RollbackRequest, person: RunTrigger) -> RunRecord:
        self._wait()
        champion = str(3 - len(self.rollbacks))
        if request.champion and request.champion != champion:
            raise HttpError(409, f"the champion is version {champion}")
        self.rollbacks.append((workload, request, person))
        target = request.version or str(int(champion) - 1)
        rollback = RecordedRollback(RecordedVersion(champion), RecordedVersion(target), None, person.caller)
        return RunRecord(
            run=f"{workload}-rollback-1", verdict="rolled back", reasons=(person.reason,), rollback=rollback
        )

    def _wait(self) -> None:
        assert self.permitted.wait(30)
        if self.failure is not None:
            raise self.failure
