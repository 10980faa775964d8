"""Run a command: report its errors in one line, and return its exit code."""

from __future__ import annotations

from collections.abc import Callable

from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.messages import report


def run_command(function: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Return the exit code of `function`, or that of its error. Other exceptions are defects and are raised.

    `interrupted` is the message after Ctrl-C: it states what the command has done and what it has not.
    """
    try:
        return function()
    except (PipelineError, OSError) as error:
        pipeline_error = as_pipeline_error(error)
        report(f"error: {pipeline_error}")
        return pipeline_error.exit_code
    except KeyboardInterrupt:
        report(interrupted)
        return INTERRUPTED
