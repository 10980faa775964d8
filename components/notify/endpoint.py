"""The endpoint at the end of a run: on a cluster, notify is the only step of every run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from continuous_training.adapters.notifications.notification import run_notification
from continuous_training.adapters.notifications.notifier import Notifier
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import UnsettledError
from continuous_training.core.settings import Settings


def settle_endpoint(
    workload: str, record: RunRecord, settings: Settings, output: Callable[[str], None]
) -> None:
    """Let the endpoint on a cluster serve the registry's champion.

    Raises UnsettledError if they disagree after all. The error is recorded and announced first.
    """
    if settings.target == "local":
        # The runner of a local run compares the local model server with the registry.
        return
    # Import here for a shorter start-up time: a local run does not use it.
    from continuous_training.operations.settle import settle

    try:
        settle(workload, settings, record.run, output)
    except UnsettledError as error:
        unsettled = replace(record, disagreement=str(error))
        RunHistory(open_store(settings.store), workload).write_run(unsettled)
        notification = replace(run_notification(workload, unsettled), text=f"{workload}: {error}")
        Notifier(settings.notifications).send(notification)
        raise
