"""The Kubeflow Pipelines API, as far as a running step asks it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests

Task = dict[str, Any]


def failed_tasks(api: str, run_id: str, names: Iterable[str], token_file: Path | None = None) -> list[str]:
    """Return which of the tasks called `names` failed; empty when none did or the API does not tell.

    `GET /apis/v2beta1/runs/{id}`, `run_details.task_details`: each task appears several times (driver,
    executor, tries), and groups of tasks fail with their members. A try that was followed by another one
    does not count. `token_file` lets it in where Kubeflow has several users.
    """
    try:
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file else {}
        url = f"{api.rstrip('/')}/apis/v2beta1/runs/{run_id}"
        response = requests.get(url, headers=headers, timeout=(5, 20))
        response.raise_for_status()
        details = (response.json().get("run_details") or {}).get("task_details") or []
        failed = {name_of(task) for task in latest(details) if task.get("state") == "FAILED"}
    except (OSError, ValueError, AttributeError, KeyError):
        # The notification goes out all the same, only less precise.
        return []
    return [name for name in names if name in failed]


def name_of(task: Task) -> str:
    """Return the name of the task that an entry is about: `train` for the second try `train(1)`."""
    return str(task.get("display_name") or "").partition("(")[0]


def is_attempt(task: Task) -> bool:
    """Tell whether an entry is one try of a task, `train(1)`."""
    return _attempt(task) is not None


def latest(tasks: Iterable[Task]) -> list[Task]:
    """Return the entries without the tries that were followed by another one."""
    entries = list(tasks)
    last: dict[str, int] = {}
    for task in entries:
        last[name_of(task)] = max(last.get(name_of(task), -1), _attempt(task) or 0)
    return [task for task in entries if _attempt(task) in (None, last[name_of(task)])]


def _attempt(task: Task) -> int | None:
    found = re.search(r"\((\d+)\)$", str(task.get("display_name") or ""))
    return int(found.group(1)) if found else None
