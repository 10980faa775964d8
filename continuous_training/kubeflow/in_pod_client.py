"""The Kubeflow Pipelines API for a running step: the state of its run, and terminated runs.

The functions return an empty list or False when the API cannot be reached or sends no usable response: the
step then does its work without them. Only a denied request is reported, because a person can correct it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import requests

from continuous_training.core.json_object import Json
from continuous_training.core.messages import MARK, report
from continuous_training.kubeflow.api_objects import Run
from continuous_training.kubeflow.run_tasks import tasks_of, without_superseded_attempts

EARLIER_RUNS = 20
"""Number of the latest runs among which terminated runs are searched."""

_DENIED = (401, 403)
_UNUSABLE = (OSError, ValueError, AttributeError, KeyError, TypeError)


def failed_tasks(api: str, run_id: str, names: Iterable[str], token_file: Path | None = None) -> list[str]:
    """Return the names of the failed tasks among `names`, in the same order.

    Reads `run_details.task_details` of `GET /apis/v2beta1/runs/{id}`. An attempt that was followed by
    another attempt does not count. `token_file` holds the token for a Kubeflow with several users.
    """
    try:
        tasks = without_superseded_attempts(tasks_of(_get(api, f"runs/{run_id}", token_file)))
    except _UNUSABLE:
        return []
    failed = {task.name for task in tasks if task.state == "FAILED"}
    return [name for name in names if name in failed]


def is_terminated(api: str, run_id: str, token_file: Path | None = None) -> bool:
    """Return whether a person terminated the run."""
    try:
        return Run.from_json({"run_id": run_id, **_get(api, f"runs/{run_id}", token_file)}).terminated
    except _UNUSABLE:
        return False


def terminated_runs(api: str, run_id: str, token_file: Path | None = None) -> list[Run]:
    """Return the terminated runs among the latest runs of a run's pipeline and experiment, oldest first."""
    try:
        own = _get(api, f"runs/{run_id}", token_file)
        query = {
            "experiment_id": str(own["experiment_id"]),
            "sort_by": "created_at desc",
            "page_size": str(EARLIER_RUNS),
        }
        rows = _get(api, "runs", token_file, query).get("runs") or []
        pipeline_id = Run.from_json(own).pipeline_id
        runs = [Run.from_json(row) for row in reversed(rows)]
    except _UNUSABLE:
        return []
    return [run for run in runs if run.terminated and run.has_ended and run.pipeline_id == pipeline_id]


def _get(api: str, path: str, token_file: Path | None, query: Mapping[str, str] | None = None) -> Json:
    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file else {}
    url = f"{api.rstrip('/')}/apis/v2beta1/{path}"
    response = requests.get(url, params=query, headers=headers, timeout=(5, 20))
    if response.status_code in _DENIED:
        report(
            f"{MARK}Kubeflow Pipelines denies this step to read runs ({response.status_code}): in a profile, "
            "manifests/overlays/kubeflow-multiuser grants it; pipelines.preflight checks it"
        )
    response.raise_for_status()
    return dict(response.json())
