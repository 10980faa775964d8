"""Print the messages of a run's steps on a cluster: `python -m pipelines.logs RUN [STEP]`.

RUN is the id of a run of Kubeflow Pipelines. The output contains the messages and the exit code of each
step, without the lines of Kubeflow and Argo. The logs are read from the pods in the cluster of
KUBECONFIG, so they are available until Kubeflow deletes the pods.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE, STEP_NAMES
from continuous_training.kubeflow.step_logs import StepLog, read_step_logs
from pipelines import command_line


@dataclass(frozen=True)
class RunLogs:
    """The logs of the steps of a run."""

    run: str
    steps: tuple[StepLog, ...]

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {"run": self.run, "steps": [log.to_json() for log in self.steps]}


def _read(arguments: argparse.Namespace) -> RunLogs:
    # Start-up time: the import loads the Kubernetes client, which --help does not need.
    from continuous_training.adapters.kubernetes.connection import connect

    cluster = connect(arguments.namespace, os.environ.get("KUBECONFIG", ""), arguments.context)
    logs = tuple(read_step_logs(cluster, arguments.run, arguments.step or ""))
    if not logs:
        step = f" of {arguments.step}" if arguments.step else ""
        raise UserError(
            f"run {arguments.run} has no pods{step} in namespace {arguments.namespace}: check the id and the "
            "namespace. Kubeflow deletes the pods of old runs; pipelines.history shows their results"
        )
    return RunLogs(arguments.run, logs)


def _show(result: RunLogs) -> None:
    for log in result.steps:
        print(f"{log.step}: {log.phase}")
        for message in log.messages:
            print(f"  {message}")
        if log.exit_code is not None:
            indented = log.error.replace("\n", "\n  ")
            print(f"  failed with exit code {log.exit_code}: {indented}")
        print(f"  {log.kubectl}")


def main(argv: list[str] | None = None) -> int:
    """Print the logs. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.logs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=command_line.EXIT_CODES.format(""),
    )
    parser.add_argument("run", metavar="RUN", help="id of the run, as pipelines.run prints it")
    parser.add_argument("step", metavar="STEP", nargs="?", choices=STEP_NAMES, help="default: all steps")
    parser.add_argument(
        "--namespace", default=KUBEFLOW_NAMESPACE, help="namespace of the steps' pods; default: %(default)s"
    )
    parser.add_argument(
        "--context",
        "--cluster",
        nargs="?",
        const="",
        default="",
        metavar="CONTEXT",
        help="context of the kubeconfig; default: its current context. Write this option last",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(argv)
    return command_line.print_result(arguments, lambda: _read(arguments), _show)


if __name__ == "__main__":
    sys.exit(main())
