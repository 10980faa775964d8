"""Run a pipeline for the trigger service: `local_run RUN_ID WORKLOAD PARAMETERS STATE`.

Prints the result as one JSON object. STATE is empty for the settings of the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.messages import quiet_output
from continuous_training.core.settings import Settings
from pipelines.local_run.local_run import run_local
from workloads import discovery


def run_pipeline(run_id: str, name: str, parameters: str, state: str) -> int:
    """Run the pipeline. Return the exit code."""

    def run() -> int:
        workload = discovery.get(name)
        settings = Settings.from_environment(os.environ, Path(state) if state else None)
        with quiet_output():
            result = run_local(workload, workload.parse(json.loads(parameters)), settings, run_id)
        sys.stdout.write(json.dumps(result.to_json()))
        return exit_code_of(result.verdict)

    interruption = "interrupted: the completed steps are kept"
    return run_command(run, interruption, json_output=True, fields={"workload": name, "run": run_id})


if __name__ == "__main__":
    # A service in the background of a shell ignores SIGINT, and so would its runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_pipeline(*sys.argv[1:5]))
