"""Approve or reject a version for the trigger service, in a process of its own.

`local_review DECISION WORKLOAD RUN USER REASON STATE`: STATE is empty for the settings of the environment.
Prints the result as one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from components.deploy_serving.review import Reviewer, approve, reject
from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.messages import quiet_output
from continuous_training.core.settings import Settings

DECISIONS = {"approve": approve, "reject": reject}


def decide(decision: str, workload: str, reviewer: Reviewer, state: str) -> int:
    """Carry out the decision. Return the exit code."""

    def run() -> int:
        settings = Settings.from_environment(os.environ, Path(state) if state else None)
        with quiet_output():
            result = DECISIONS[decision](workload, reviewer, settings)
        sys.stdout.write(json.dumps(result.to_json()))
        return exit_code_of(result.verdict)

    return run_command(run, "interrupted: send the request again", json_output=True)


if __name__ == "__main__":
    name, model, run_id, user, reason, folder = sys.argv[1:7]
    sys.exit(decide(name, model, Reviewer(user, reason, run_id), folder))
