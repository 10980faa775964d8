"""The end of a local run: the endpoint serves the registry's champion, or the run fails."""

from __future__ import annotations

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import PipelineError, TransientError, UnsettledError
from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.operations.settle import settle
from continuous_training.serving.process import daemon


def settle_run(name: str, record: RunRecord, settings: Settings) -> None:
    """Start the model server if it is stopped, and let it serve the champion.

    Raises UnsettledError if it serves another version. The message contains the verdict of the run.
    """
    if settings.target != "local":
        # The run's notify step has done it.
        return
    if (settings.state / "serving").is_dir() and daemon.status(settings.state) is None:
        daemon.start(settings.state, report=report)
    try:
        settle(name, settings, record.run, report)
    except UnsettledError as error:
        raise UnsettledError(f"{error}\nThe run's verdict: {record.verdict}") from error


def settle_failed_run(error: PipelineError, name: str, run: str, settings: Settings) -> PipelineError:
    """Let the endpoint serve the champion after a step failed with `error`. Return the error of the run.

    If endpoint and registry disagree after all, it is an UnsettledError that contains both causes.
    """
    if settings.target != "local":
        return error
    try:
        settle(name, settings, run, report)
    except UnsettledError as unsettled:
        return UnsettledError(f"{error}\n{unsettled}")
    except (PipelineError, OSError):
        # The registry or the server is unreachable. The error of the step is the cause that matters.
        return error
    if isinstance(error, UnsettledError):
        return TransientError(
            f"{error}\nThe endpoint serves the champion now. Run the same command again to complete the run"
        )
    return error
