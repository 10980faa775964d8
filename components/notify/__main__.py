"""Run the notify step alone: record and announce the result of a run.

In:   the run record in the store
Out:  one line of output, a record if the run failed, and a message to the webhook CT_WEBHOOK if it is set;
      the same for earlier runs that were terminated, because their exit handler may have been ended

If CT_TARGET is a cluster, the endpoint serves the registry's champion afterwards. The exit code is 6 if that
is not possible: the endpoint and the registry disagree.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import step_cli
from components.terminated_run import announce_earlier_runs
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.messages import RESULT, report
from continuous_training.core.settings import Settings

from .endpoint import settle_endpoint
from .step import run, to_markdown


def in_pipeline(workload: str, run_id: str, result: Any) -> None:
    """Run the step inside a pipeline. The artifact `result` shows the result in the Kubeflow UI."""
    record = step_cli.run_in_pipeline(
        "", lambda settings: notify_result(workload, run_id, settings, step_cli.tell)
    )
    # A command that follows the run without access to the store reads the result from the log.
    report(f"{RESULT}{json.dumps(record.to_json(), ensure_ascii=False)}")
    Path(result.path).write_text(to_markdown(workload, record), encoding="utf-8")
    step_cli.run_in_pipeline("", lambda settings: settle_endpoint(workload, record, settings, step_cli.tell))


def notify_result(workload: str, run_id: str, settings: Settings, output: Callable[[str], None]) -> RunRecord:
    """Run the step with the store and the webhook of `settings`; `output` receives the result as one line."""
    history = RunHistory(open_store(settings.store), workload, output)
    announce_earlier_runs(run_id, history, settings, output)
    return run(run_id, history, settings, output)


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell. Return the exit code."""
    parser = step_cli.command("notify", __doc__, state=True)
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument("--run-id", required=True, help="the run to announce")
    arguments = parser.parse_args(argv)

    def run_step() -> int:
        settings = Settings.from_environment(os.environ, arguments.state)
        record = notify_result(arguments.workload, arguments.run_id, settings, print)
        settle_endpoint(arguments.workload, record, settings, print)
        return 0

    return step_cli.finish(run_step)


if __name__ == "__main__":
    sys.exit(main())
