"""The Kubeflow Pipelines API, as far as a running step asks it."""

from __future__ import annotations

from collections.abc import Iterable

import requests


def failed_tasks(api: str, run_id: str, names: Iterable[str]) -> list[str]:
    """Return which of the tasks called `names` failed; empty when none did or the API does not tell.

    `GET /apis/v2beta1/runs/{id}`, `run_details.task_details`: each task appears several times (driver,
    executor, attempts), and groups of tasks fail with their members.
    """
    try:
        response = requests.get(f"{api.rstrip('/')}/apis/v2beta1/runs/{run_id}", timeout=(5, 20))
        response.raise_for_status()
        details = (response.json().get("run_details") or {}).get("task_details") or []
        failed = {
            str(task["display_name"]).partition("(")[0] for task in details if task.get("state") == "FAILED"
        }
    except (requests.RequestException, ValueError, AttributeError, KeyError):
        # The notification goes out all the same, only less precise.
        return []
    return [name for name in names if name in failed]
