"""The command line of a step: messages, errors, exit codes and arguments."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from components.announcement import announce_correction, recorded_failure
from components.transient_retries import with_retries
from components.unexpected_error import describe
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.command import run_command
from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import DEFECT
from continuous_training.core.messages import ERROR, MARK, report
from continuous_training.core.progress import ProgressLine
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.core.settings import Settings
from continuous_training.serving.process.state_files import state_directory

Result = TypeVar("Result")
T = TypeVar("T")

INTERRUPTION = (
    "interrupted: a version is served only after its golden requests passed. Run the same command again to "
    "continue"
)


def tell(message: str) -> None:
    """Write one line of progress to standard error at once. On a terminal, the next one may replace it."""
    report(f"{MARK}{message}", transient=isinstance(message, ProgressLine))


def run_in_pipeline(step: str, execute: Callable[[Settings], Result]) -> Result:
    """Return the result of a step inside a pipeline. A temporary failure is retried as the settings state.

    The last error is reported and, unless `step` is empty, recorded. If the run was recorded as failed and
    the step replaces that record, the new result is announced.
    """
    with reported(step):
        settings = in_pipeline()

        def retried(action: Callable[[], T]) -> T:
            return with_retries(action, settings.retries, settings.retry_backoff, tell)

        failed_before = retried(lambda: recorded_failure(settings)) if step else None
        result = retried(lambda: execute(settings))
        if failed_before is not None:
            announce_correction(settings, tell)
        return result


@contextmanager
def reported(step: str = "") -> Iterator[None]:
    """Report an error in the block as one line of JSON. Exit with the exit code of an expected error.

    Unexpected errors are raised again, so that the log contains the traceback. Each error is also recorded in
    the store as the failure of `step`, unless that is empty.
    """
    try:
        yield
    except (PipelineError, OSError) as error:
        failure = as_pipeline_error(error)
        content = {"exit_code": failure.exit_code, "error": str(failure)}
        report(f"{ERROR}{json.dumps(content, ensure_ascii=False)}")
        _record(step, failure.exit_code, str(failure))
        sys.exit(failure.exit_code)
    except Exception as error:
        message = f"unexpected error: {describe(error)}"
        content = {"exit_code": DEFECT, "error": f"{message}; the log contains the traceback"}
        report(f"{ERROR}{json.dumps(content, ensure_ascii=False)}")
        _record(step, DEFECT, message)
        raise


def _record(step: str, exit_code: int, message: str) -> None:
    """Record the failure of a step for the exit handler and the commands."""
    try:
        settings = in_pipeline()
        if step and settings.run and settings.workload:
            history = RunHistory(open_store(settings.store), settings.workload)
            history.write_failure(StepFailure(settings.run, step, exit_code, message))
    except (PipelineError, OSError) as error:
        tell(f"the failure was not recorded in the store: {error}")


def in_pipeline() -> Settings:
    """Return the settings of a step inside a pipeline, from its environment variables."""
    return Settings.from_environment(os.environ)


def arguments_of(step: str) -> dict[str, str]:
    """Parse the `name=value` lines that the pipeline passes to a step."""
    return parse_assignments(line for line in step.split("\n") if line)


def command(prog: str, text: str | None, *, state: bool = False) -> argparse.ArgumentParser:
    """Return the parser of a step's command line, with the options that all steps have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m components.{prog}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 done, 2 user error, 3 rejected, 4 rolled back, 5 waiting for approval, "
        "6 unsettled, 75 try again, 1 unexpected",
    )
    if state:
        parser.add_argument(
            "--state",
            type=state_directory,
            metavar="DIR",
            help="keep registry, archives and server under DIR (default: .state, or as the environment says)",
        )
    return parser


def workload_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --workload and --set."""
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a run parameter; may be repeated"
    )


def interpreter() -> str:
    """Return the shell command of this Python interpreter, relative to the working directory."""
    inside = Path(sys.executable).is_relative_to(Path.cwd())
    return shlex.quote(os.path.relpath(sys.executable) if inside else sys.executable)


def finish(action: Callable[[], int]) -> int:
    """Run the action of a step's command with the common error handling. Return the exit code."""
    return run_command(action, INTERRUPTION)
