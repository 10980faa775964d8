"""Run a command: report its errors in one line, and return its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable

from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.messages import report


def run_command(
    function: Callable[[], int], interrupted: str = "interrupted", json_output: bool = False
) -> int:
    """Return the exit code of `function`, or that of its error. Other exceptions are defects and are raised.

    `interrupted` is the message after Ctrl-C: it states what the command has done and what it has not. With
    `json_output`, an error or an interruption is also printed as a JSON object to standard output.
    """
    try:
        return function()
    except (PipelineError, OSError) as error:
        pipeline_error = as_pipeline_error(error)
        report(f"error: {pipeline_error}")
        if json_output:
            _print_json("failed", str(pipeline_error))
        return pipeline_error.exit_code
    except KeyboardInterrupt:
        report(interrupted)
        if json_output:
            _print_json("interrupted", interrupted)
        return INTERRUPTED


def _print_json(verdict: str, reason: str) -> None:
    print(json.dumps({"verdict": verdict, "reasons": [reason]}))  # noqa: T201
