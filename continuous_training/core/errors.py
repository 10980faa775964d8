"""The errors that a user can act on. Each class has the exit code of a command that fails with it."""

from __future__ import annotations

from continuous_training.core import exit_codes
from continuous_training.core.disk_space import disk_full_message, full_folder, is_disk_full


class PipelineError(Exception):
    """An expected failure. Its message states what happened, where, and what to do."""

    exit_code = exit_codes.DEFECT


class UserError(PipelineError, ValueError):
    """The input or the set-up is wrong. Another try without a change fails in the same way."""

    exit_code = exit_codes.USER_ERROR


class RolloutReverted(PipelineError):
    """A new version failed its rollout, and the previous version was verified to answer again."""

    exit_code = exit_codes.REVERTED


class UnsettledError(PipelineError):
    """Endpoint and registry do not agree, or a rollout was neither finished nor reverted."""

    exit_code = exit_codes.UNSETTLED


class TransientError(PipelineError, ConnectionError):
    """An external dependency was temporarily unavailable. The same call may succeed later."""

    exit_code = exit_codes.TRANSIENT


class StepTimeoutError(TransientError):
    """The time of a step is used up, so that another try inside the step has no time left."""


class DiskFullError(TransientError):
    """There is no space left on a disk of this machine. Another try fails until some space is freed."""


class RunInterrupted(PipelineError):
    """A person terminated the run. The next run continues from the last completed write."""

    exit_code = exit_codes.INTERRUPTED


def error_with_code(exit_code: int, message: str) -> PipelineError:
    """Return the error of the class that has this exit code; PipelineError for any other code."""
    classes = {cls.exit_code: cls for cls in PipelineError.__subclasses__()}
    return classes.get(exit_code, PipelineError)(message)


def as_pipeline_error(error: PipelineError | OSError) -> PipelineError:
    """Convert an error of the file system to a PipelineError that names the file and the reason.

    Return a PipelineError unchanged. Raise an OSError that names no file again, because it is a defect.
    """
    if isinstance(error, PipelineError):
        return error
    if is_disk_full(error):
        return DiskFullError(disk_full_message(error.filename or full_folder()))
    if error.filename is None or error.strerror is None:
        raise error
    return UserError(f"{error.filename}: {error.strerror}")
