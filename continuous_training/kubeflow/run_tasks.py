"""The tasks of a run, as the Kubeflow Pipelines API lists them.

A run lists each task several times: its driver, its executor, and one entry for each attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from continuous_training.core.json_object import Json

_UNSET_TIMES = ("1970-", "0001-")
"""How the API writes a time that is not known yet."""


@dataclass(frozen=True)
class Task:
    """One entry of `run_details.task_details`. A task that never started has no state."""

    display_name: str
    state: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    error: str = ""
    pods: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the task without the number of the attempt: `train` for `train(1)`."""
        return self.display_name.partition("(")[0]

    @property
    def attempt(self) -> int | None:
        """The number of the attempt, 1 for `train(1)`. None for the entry of the task as a whole."""
        match = re.search(r"\((\d+)\)$", self.display_name)
        return int(match.group(1)) if match else None

    @classmethod
    def from_json(cls, data: Json) -> Task:
        """Return the task of one entry of the API."""
        children = data.get("child_tasks") or []
        return cls(
            display_name=str(data.get("display_name") or ""),
            state=data.get("state"),
            start=_parse_time(data.get("start_time")),
            end=_parse_time(data.get("end_time")),
            error=str((data.get("error") or {}).get("message") or ""),
            pods=tuple(str(child["pod_name"]) for child in children if "pod_name" in child),
        )


def tasks_of(run: Json) -> tuple[Task, ...]:
    """Return the tasks of a run's JSON. A run without pods has none."""
    details = (run.get("run_details") or {}).get("task_details") or []
    return tuple(Task.from_json(entry) for entry in details)


def without_superseded_attempts(tasks: Iterable[Task]) -> list[Task]:
    """Return the tasks without the attempts that were followed by another attempt."""
    entries = list(tasks)
    last: dict[str, int] = {}
    for task in entries:
        last[task.name] = max(last.get(task.name, -1), task.attempt or 0)
    return [task for task in entries if task.attempt in (None, last[task.name])]


def _parse_time(value: object) -> datetime | None:
    text = str(value or "")
    if not text or text.startswith(_UNSET_TIMES):
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
