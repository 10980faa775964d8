"""Carry out a decision for the trigger service, in a process of its own: `decide REQUEST STATE`.

REQUEST is a JSON object. STATE is the state directory, empty for the settings of the environment. Prints the
result as one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from components.deploy_serving.review import Reviewer, ReviewResult, approve, reject
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.messages import quiet_output
from continuous_training.core.settings import Settings
from continuous_training.core.temporary_files import temporary_files_in
from continuous_training.operations.rollback import RollbackResult, roll_back
from pipelines.trigger.decision_request import NOT_PERMITTED, DecisionRequest


class NotPermittedError(UserError):
    """The Role of the service does not permit a request of the decision."""

    exit_code = NOT_PERMITTED


def _approve(request: DecisionRequest, settings: Settings) -> ReviewResult:
    return approve(request.workload, Reviewer(request.user, request.reason, request.run), settings)


def _reject(request: DecisionRequest, settings: Settings) -> ReviewResult:
    return reject(request.workload, Reviewer(request.user, request.reason, request.run), settings)


def _roll_back(request: DecisionRequest, settings: Settings) -> RollbackResult:
    reason = request.reason or f"rolled back by {request.user}"
    version = request.version or None
    return roll_back(request.workload, version, reason, request.user, settings, expected=request.champion)


_ACTIONS: dict[str, Callable[[DecisionRequest, Settings], ReviewResult | RollbackResult]] = {
    "approve": _approve,
    "reject": _reject,
    "rollback": _roll_back,
}


def decide(request: DecisionRequest, state: str) -> int:
    """Carry out the decision. Return the exit code."""

    def run() -> int:
        settings = Settings.from_environment(os.environ, Path(state) if state else None)
        with quiet_output(), temporary_files_in(settings.state, "command"):
            try:
                result = _ACTIONS[request.action](request, settings)
            except ForbiddenError as error:
                raise NotPermittedError(str(error)) from error
        sys.stdout.write(json.dumps(result.to_json()))
        return exit_code_of(result.verdict)

    return run_command(run, "interrupted: send the request again", json_output=True)


if __name__ == "__main__":
    sys.exit(decide(DecisionRequest.from_argument(sys.argv[1]), sys.argv[2]))
