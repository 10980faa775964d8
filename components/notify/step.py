"""The notify step: the exit handler, which records and announces the result of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.announcement import announce
from components.terminated_run import TERMINATED
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.kubeflow.in_pod_client import failed_tasks, is_terminated

from .unrecorded_promotion import unrecorded_promotion

if TYPE_CHECKING:
    from continuous_training.core.progress import Progress

STEPS = ("prep-data", "train", "evaluate", "archive", "deploy-serving")


def run(run_id: str, history: RunHistory, settings: Settings, progress: Progress = report) -> RunRecord:
    """Record and announce the result of the run. Return the run record.

    A run without a record has failed or was terminated, unless its version is the champion. Its record gets
    the failure that the step recorded. A step that was killed recorded none: its name is requested from the
    API of Kubeflow Pipelines, because the status that Kubeflow passes to an exit handler is not reliable.
    """
    record = history.run(run_id)
    if record is None:
        promotion = unrecorded_promotion(history.workload, run_id, settings)
        record = promotion or _failed_run(run_id, history, settings)
        history.write_run(record)
    announce(record, history, settings, progress)
    return record


def _failed_run(run_id: str, history: RunHistory, settings: Settings) -> RunRecord:
    failure = history.failure(run_id)
    if failure is None:
        return _killed_run(run_id, settings.kfp_api, settings.kfp_token_file)
    reasons = (f"{failure.step}: {failure.error} (exit code {failure.exit_code})",)
    return RunRecord(run=run_id, verdict=failure.verdict, reasons=reasons)


def _killed_run(run_id: str, kfp_api: str, kfp_token: Path | None) -> RunRecord:
    """Return the record of a run whose steps recorded neither a result nor a failure."""
    if kfp_api and is_terminated(kfp_api, run_id, kfp_token):
        return RunRecord(run=run_id, verdict="interrupted", reasons=(TERMINATED,))
    failed = failed_tasks(kfp_api, run_id, STEPS, kfp_token) if kfp_api else []
    cause = f"failed in {', '.join(failed)}" if failed else "did not finish"
    return RunRecord(run=run_id, verdict="failed", reasons=(f"the run {cause}; see its log",))


def to_markdown(workload: str, record: RunRecord) -> str:
    """Return the result of the run as a page for the Kubeflow UI."""
    reasons = "".join(f"- {reason}\n" for reason in record.reasons)
    return f"# {workload}: {record.verdict}\n\n{reasons}\nRun {record.run}\n"
