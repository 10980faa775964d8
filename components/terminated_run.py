"""The result of a run that a person terminated: Kubeflow Pipelines may end its exit handler too.

Without a record, the command that follows the run records and announces it, or else the next run of the
workload does.
"""

from __future__ import annotations

from components.announcement import announce
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings
from continuous_training.kubeflow.api_objects import Run
from continuous_training.kubeflow.in_pod_client import terminated_runs

TERMINATED = "the run was terminated"
"""The reason in the record of a terminated run."""


def announce_terminated_run(run: Run, history: RunHistory, settings: Settings, progress: Progress) -> None:
    """Record and announce a terminated run, unless it has a record."""
    if history.run(run.run_id) is not None:
        return
    record = RunRecord(run=run.run_id, verdict="interrupted", reasons=(TERMINATED,))
    history.write_run(record)
    announce(record, history, settings, progress)


def announce_earlier_runs(run_id: str, history: RunHistory, settings: Settings, progress: Progress) -> None:
    """Announce the earlier runs of the workload that were terminated and not announced."""
    if settings.kfp_api:
        for run in terminated_runs(settings.kfp_api, run_id, settings.kfp_token_file):
            announce_terminated_run(run, history, settings, progress)
