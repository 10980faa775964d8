"""The demo: one run of a workload, one prediction asked of the endpoint, and where to look next."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import requests

from components.step_cli import interpreter
from continuous_training.core.errors import TransientError
from continuous_training.core.exit_codes import DONE, REJECTED
from continuous_training.core.messages import quiet_output, report
from continuous_training.core.parameters import parse_assignments
from continuous_training.core.settings import Settings
from pipelines import run_output
from pipelines.local_run.local_run import run_local
from workloads import discovery
from workloads.contract import Workload

from .run import parser, run_with_workload


def ask(result: dict[str, Any]) -> tuple[Any, Any]:
    """Ask the endpoint the first golden request of what it serves; returns request and answer."""
    from continuous_training.artifacts import archive
    from continuous_training.serving.process import daemon
    from continuous_training.serving.process.client import ServerClient

    running = daemon.status(Path(result["state"]))
    if running is None:
        raise TransientError("the server went away; run it again")
    served = next(model for model in ServerClient(running).models() if model.name == result["workload"])
    request = archive.read_manifest(Path(str(served.archive))).golden.requests[0].request
    response = requests.post(result["endpoint"], json=request, timeout=10)
    response.raise_for_status()
    return request, response.json()


def where_next(workload: Workload, result: dict[str, Any], request: Any) -> str:
    """Return the commands that a person may try now."""
    state = shlex.quote(os.path.relpath(result["state"]))
    python = interpreter()
    body = shlex.quote(json.dumps(request, separators=(",", ":")))
    lines = [
        ("ask it yourself", f"curl -s {result['endpoint']} -H 'content-type: application/json' -d {body}"),
        ("the report", _relative(result["report"])),
        (
            "the registry",
            f"{python} -m mlflow ui --backend-store-uri sqlite:///{state}/mlflow/mlflow.db "
            f"--artifacts-destination {state}/mlflow/artifacts --port 5000",
        ),
        ("try a challenger", f"make demo WORKLOAD={workload.name} SET={_another_value(workload)}"),
        ("stop the server", f"{python} -m serving stop --state {state}"),
        ("forget it all", f"{python} -m serving stop --state {state}; rm -r {state}"),
    ]
    return "\n".join(f"{title}:\n  {line}" for title, line in lines)


def _another_value(workload: Workload) -> str:
    """Return `name=value` of a run that trains anew: the first parameter with another value."""
    parameter = workload.parameters()[0]
    if parameter.choices:
        return f"{parameter.name}={next(c for c in parameter.choices if c != parameter.default)}"
    if isinstance(parameter.default, int | float) and parameter.maximum is not None:
        return f"{parameter.name}={min(parameter.type(parameter.maximum), parameter.default * 2)}"
    return "seed=1"


def main(argv: list[str] | None = None) -> int:
    """Run the demo and print its result. Return the exit code: 0 also for a rejected challenger."""
    arguments = parser().parse_args(argv)

    def run() -> int:
        with quiet_output():
            workload = discovery.get(arguments.workload)
            result = _demonstrate(workload, arguments)
        _show(result, arguments)
        if not result["endpoint"]:
            report("nothing is served yet: the first model did not reach the floors of its promotion rule")
            return REJECTED
        report(where_next(workload, result, result["request"]))
        return DONE

    return run_with_workload(run, arguments)


def _demonstrate(workload: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of the run with the request that was sent to the endpoint and the response."""
    values = workload.parse(parse_assignments(arguments.set))
    result = run_local(workload, values, Settings.from_environment(os.environ, arguments.state))
    request, response = ask(result) if result["endpoint"] else (None, None)
    return {**result, "request": request, "response": response}


def _show(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(result))
        return
    run_output.show(result)
    if result["endpoint"]:
        print(f"\nasked:    {_short(result['request'])}\nanswered: {_short(result['response'])}\n")


def _relative(path: str | None) -> str:
    return os.path.relpath(path) if path else "none"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:297]}..."


if __name__ == "__main__":
    sys.exit(main())
