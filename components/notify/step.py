"""notify: the exit handler; says what the run came to, whatever it came to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.run_history import Record, RunHistory
from continuous_training.adapters.webhook import Notifier
from continuous_training.core.messages import report
from continuous_training.kubeflow.in_pod_client import failed_tasks

if TYPE_CHECKING:  # its image holds no numpy, as the contract needs
    from continuous_training.core.progress import Progress

STEPS = ("prep-data", "train", "evaluate", "archive", "deploy-serving")


def run(
    workload: str,
    run_id: str,
    records: RunHistory,
    notifier: Notifier,
    kfp_api: str = "",
    kfp_token: Path | None = None,
    progress: Progress = report,
) -> Record:
    """Record and announce the run's outcome; returns the record.

    A step that finished its work has left a record; without one the run has failed, and on a cluster
    the API is asked which step did (the status that Kubeflow hands an exit handler is wrong too often).
    """
    record = records.run(run_id)
    if record is None:
        failed = failed_tasks(kfp_api, run_id, STEPS, kfp_token) if kfp_api else []
        where = f"failed in {', '.join(failed)}" if failed else "did not finish"
        record = {"run": run_id, "verdict": "failed", "reasons": [f"the run {where}; see its log"]}
        records.write_run(run_id, record)
    message = describe(workload, record)
    notifier.send(message, {"workload": workload, **record})
    progress(message)
    return record


def describe(workload: str, record: dict[str, Any]) -> str:
    """Return the outcome in a line."""
    return f"{workload}: {record['verdict']}. " + "; ".join(record["reasons"])
