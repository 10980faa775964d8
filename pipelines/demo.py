"""The demo: run a workload, send one prediction to the endpoint, and print commands to try next."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from components.step_cli import interpreter
from continuous_training.core.errors import TransientError
from continuous_training.core.exit_codes import DONE, exit_code_of
from continuous_training.core.json_object import Json
from continuous_training.core.messages import quiet_output, report
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.core.settings import Settings
from pipelines import run_output
from pipelines.local_run.local_run import run_local
from pipelines.run_result import RunResult
from workloads import discovery
from workloads.contract import Workload

from .run import create_parser, run_with_workload


@dataclass(frozen=True)
class DemoResult:
    """The result of the run, and a prediction. `request` and `response` are None if nothing is served."""

    run: RunResult
    request: Any
    response: Any

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {**self.run.to_json(), "request": self.request, "response": self.response}


def predict(result: RunResult) -> tuple[Any, Any]:
    """Send the first golden request of the served version to the endpoint. Return request and response."""
    # Import here for a shorter start-up time: only a run that ended needs the server.
    from continuous_training.artifacts import archive_writer
    from continuous_training.serving.process import daemon
    from continuous_training.serving.process.client import ServerClient

    running = daemon.status(Path(str(result.state)))
    if running is None:
        raise TransientError("the model server stopped after the run; run the same command again")
    model = next(model for model in ServerClient(running).models() if model.name == result.workload)
    request = archive_writer.read_manifest(Path(str(model.archive))).golden.requests[0].request
    response = requests.post(str(result.endpoint), json=request, timeout=10)
    response.raise_for_status()
    return request, response.json()


def next_commands(workload: Workload, result: RunResult, request: Any) -> str:
    """Return the commands that a person can try after the demo."""
    state = shlex.quote(os.path.relpath(str(result.state)))
    python = interpreter()
    body = shlex.quote(json.dumps(request, separators=(",", ":")))
    commands = [
        (
            "send a request",
            f"curl -s {result.endpoint} -H 'content-type: application/json' -d {body}",
        ),
        ("the report", os.path.relpath(result.report) if result.report else "none"),
        (
            "the registry",
            f"{python} -m mlflow ui --backend-store-uri sqlite:///{state}/mlflow/mlflow.db "
            f"--artifacts-destination {state}/mlflow/artifacts --port 5000",
        ),
        ("try a challenger", f"make demo WORKLOAD={workload.name} SET={_another_value(workload)}"),
        ("stop the server", f"{python} -m serving stop --state {state}"),
        ("delete everything", f"{python} -m serving stop --state {state}; rm -r {state}"),
    ]
    return "\n".join(f"{title}:\n  {command}" for title, command in commands)


def _another_value(workload: Workload) -> str:
    """Return `name=value` for a run that trains again: another value of the first parameter."""
    parameter = workload.parameters()[0]
    if parameter.choices:
        return f"{parameter.name}={next(c for c in parameter.choices if c != parameter.default)}"
    if isinstance(parameter.default, int | float) and parameter.maximum is not None:
        return f"{parameter.name}={min(parameter.type(parameter.maximum), parameter.default * 2)}"
    return "seed=1"


def main(argv: list[str] | None = None) -> int:
    """Run the demo and print its result. Return the exit code: 0 also for a rejected challenger."""
    arguments = create_parser().parse_args(argv)

    def run() -> int:
        with quiet_output():
            workload = discovery.get(arguments.workload)
            result = _run(workload, arguments)
        _show(result, arguments)
        if not result.run.endpoint and result.run.approve:
            report(f"no version is served yet. To approve the version that waits:\n  {result.run.approve}")
            return exit_code_of(result.run.verdict)
        if not result.run.endpoint:
            report("no version is served yet: the first model did not reach the floors of its promotion rule")
            # An unchanged run comes here too if the first model was rejected by an earlier run.
            return exit_code_of("rejected")
        report(next_commands(workload, result.run, result.request))
        return DONE

    return run_with_workload(run, arguments)


def _run(workload: Workload, arguments: argparse.Namespace) -> DemoResult:
    values = workload.parse(parse_assignments(arguments.set))
    result = run_local(workload, values, Settings.from_environment(os.environ, arguments.state))
    request, response = predict(result) if result.endpoint else (None, None)
    return DemoResult(result, request, response)


def _show(result: DemoResult, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(result.to_json()))
        return
    run_output.show(result.run)
    if result.run.endpoint:
        print(f"\nrequest:  {_shorten(result.request)}\nresponse: {_shorten(result.response)}\n")


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:297]}..."


if __name__ == "__main__":
    sys.exit(main())
