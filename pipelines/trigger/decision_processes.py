"""Decisions about versions, each carried out in a process of its own."""

from __future__ import annotations

import logging
import subprocess
import sys

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.exit_codes import (
    DONE,
    REJECTED,
    REVERTED,
    TRANSIENT,
    UNSETTLED,
    USER_ERROR,
)
from continuous_training.core.json_object import JsonObject
from continuous_training.serving.http.errors import RETRY_AFTER, HttpError
from continuous_training.trigger.decisions import Decision, RollbackRequest, cluster_command
from pipelines.trigger.decision_request import NOT_PERMITTED, DecisionRequest

log = logging.getLogger(__name__)

_STATUSES = {USER_ERROR: 409, REVERTED: 409, UNSETTLED: 502, NOT_PERMITTED: 403}
"""The HTTP statuses of exit codes whose reason is sent to the client."""


class DecisionProcesses:
    """Runs `pipelines.trigger.decide` with the state directory `state`, or the settings of the environment.

    A process continues if the service stops. `namespace` is that of the steps on a cluster; empty for the
    default of the commands.
    """

    def __init__(self, state: str, namespace: str = "") -> None:
        self.state, self.namespace = state, namespace

    def review(self, workload: str, run: str, decision: Decision, person: RunTrigger) -> RunRecord:
        """Approve or reject the version of a run."""
        return self._decide(DecisionRequest(decision, workload, person.caller, person.reason, run))

    def roll_back(self, workload: str, request: RollbackRequest, person: RunTrigger) -> RunRecord:
        """Serve an earlier version again."""
        return self._decide(
            DecisionRequest(
                action="rollback",
                workload=workload,
                user=person.caller,
                reason=person.reason,
                version=request.version,
                champion=request.champion,
            )
        )

    def _decide(self, request: DecisionRequest) -> RunRecord:
        process = subprocess.run(
            [sys.executable, "-m", "pipelines.trigger.decide", request.to_argument(), self.state],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        code = process.returncode
        if code in (DONE, REJECTED):
            return RunRecord.from_json(JsonObject.parse(process.stdout, "the result of the decision"))
        log.warning("%s of %s was not carried out: %s", request.action, request.workload, process.stderr)
        if code in _STATUSES:
            (reason,) = JsonObject.parse(process.stdout, "the result of the decision").text_list("reasons")
            if code == NOT_PERMITTED:
                command = cluster_command(request.action, request.workload, self.namespace)
                reason += f". A person can do it, with: {command}"
            raise HttpError(_STATUSES[code], reason)
        if code == TRANSIENT:
            raise HttpError(503, "the decision was not carried out; try again later", RETRY_AFTER)
        raise HttpError(502, "the decision was not carried out; see the service's log")
