"""The Kubeflow Pipelines API for a running step: the failed tasks of its own run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import requests

from continuous_training.kubeflow.tasks import tasks_of, without_superseded_attempts


def failed_tasks(api: str, run_id: str, names: Iterable[str], token_file: Path | None = None) -> list[str]:
    """Return the names of the failed tasks among `names`, in the same order.

    Reads `run_details.task_details` of `GET /apis/v2beta1/runs/{id}`. An attempt that was followed by
    another attempt does not count. `token_file` holds the token for a Kubeflow with several users.
    Returns an empty list when the API cannot be reached or sends no usable response.
    """
    try:
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file else {}
        url = f"{api.rstrip('/')}/apis/v2beta1/runs/{run_id}"
        response = requests.get(url, headers=headers, timeout=(5, 20))
        response.raise_for_status()
        tasks = without_superseded_attempts(tasks_of(response.json()))
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        # The notification is sent without the names of the failed steps.
        return []
    failed = {task.name for task in tasks if task.state == "FAILED"}
    return [name for name in names if name in failed]
