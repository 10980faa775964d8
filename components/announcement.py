"""The message about the result of a run."""

from __future__ import annotations

from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings

FAILED_VERDICTS = ("failed", "reverted")


def announce(record: RunRecord, history: RunHistory, settings: Settings, progress: Progress) -> None:
    """Report the result of a run, and send it to the channels that have not received it yet."""
    # Start-up time: a step sends a message only after a Retry; notify always does.
    from continuous_training.adapters.notifications.notification import run_notification
    from continuous_training.adapters.notifications.notifier import Notifier
    from continuous_training.operations.workspace import next_command

    has_logs = bool(settings.kfp_api) and record.verdict in FAILED_VERDICTS
    command = f"python -m pipelines.logs {record.run}" if has_logs else ""
    approve = next_command("pipelines.approve", settings, "--workload", history.workload)
    notification = run_notification(history.workload, record, command, approve)
    progress(notification.text)
    if settings.notifications.selects(record.verdict):
        earlier = history.announced(record)
        accepted = Notifier(settings.notifications).send(notification, earlier)
        if accepted:
            history.write_announced(record, earlier | accepted)


def recorded_failure(settings: Settings) -> RunRecord | None:
    """Return the record of the step's run if it has already ended with a failure.

    This is the case after a Retry in the Kubeflow UI: the failed step and the steps after it are repeated,
    and the exit handler, which has announced the failure, is not.
    """
    if not (settings.run and settings.workload):
        return None
    record = _history(settings).run(settings.run)
    return record if record is not None and record.verdict in FAILED_VERDICTS else None


def announce_correction(settings: Settings, progress: Progress) -> None:
    """Announce the result of a run that was recorded as failed, if a step has replaced the record."""
    record = _history(settings).run(settings.run)
    if record is not None and record.verdict not in FAILED_VERDICTS:
        announce(record, _history(settings), settings, progress)


def _history(settings: Settings) -> RunHistory:
    return RunHistory(open_store(settings.store), settings.workload)
