"""The messages of the steps of a run, from the logs of their pods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.core.exit_codes import DEFECT
from continuous_training.core.json_object import Json
from continuous_training.core.messages import ERROR, MARK
from continuous_training.kubeflow.object_names import RUN_ID_LABEL, STEP_LABEL

CONTAINER = "main"
"""The container of a step's pod in which the step runs. Kubeflow and Argo add others."""

MAX_LINES = 10_000
TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class StepLog:
    """The messages of one attempt of a step.

    `phase` is the phase of its pod (Pending, Running, Succeeded, Failed). `exit_code` and `error` belong to
    the step; its container always exits with 1. They are None and empty if no failure was printed.
    """

    step: str
    pod: str
    namespace: str
    phase: str
    messages: tuple[str, ...]
    exit_code: int | None = None
    error: str = ""

    @property
    def kubectl(self) -> str:
        """The command that prints the complete log."""
        return f"kubectl -n {self.namespace} logs {self.pod} -c {CONTAINER}"

    def to_json(self) -> Json:
        """Return the fields and the command."""
        return {**vars(self), "messages": list(self.messages), "kubectl": self.kubectl}


def read_step_logs(cluster: Cluster, run_id: str, step: str = "") -> list[StepLog]:
    """Return the logs of a run's steps, or of one step, in the order in which their pods were created.

    The result is empty if the pods were deleted.
    """
    selector = f"{RUN_ID_LABEL}={run_id},{STEP_LABEL}" + (f"={step}" if step else "")
    pods = sorted(cluster.find(POD, selector), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return list(_read(cluster, pods))


def failed_step_log(cluster: Cluster, run_id: str, step: str) -> StepLog | None:
    """Return the log of the last attempt of a failed step, or None if its pods were deleted."""
    failed = [log for log in read_step_logs(cluster, run_id, step) if log.phase == "Failed"]
    return failed[-1] if failed else None


def _read(cluster: Cluster, pods: Sequence[Json]) -> Iterator[StepLog]:
    for pod in pods:
        name = pod["metadata"]["name"]
        lines = cluster.logs(name, CONTAINER, MAX_LINES)
        messages = tuple(line.removeprefix(MARK) for line in lines if line.startswith(MARK))
        exit_code, error = _failure(lines)
        yield StepLog(
            step=pod["metadata"]["labels"][STEP_LABEL],
            pod=name,
            namespace=cluster.namespace,
            phase=pod["status"].get("phase", "Unknown"),
            messages=messages,
            exit_code=exit_code,
            error=error,
        )


def _failure(lines: Sequence[str]) -> tuple[int | None, str]:
    """Return the exit code and the error that a step printed; a traceback is an unexpected error."""
    for line in reversed(lines):
        if line.startswith(ERROR):
            content = json.loads(line.removeprefix(ERROR))
            return int(content["exit_code"]), str(content["error"])
    starts = [index for index, line in enumerate(lines) if line.startswith(TRACEBACK)]
    if not starts:
        return None, ""
    # The lines of a traceback are indented, up to the line with the error.
    end = next((i for i in range(starts[-1] + 1, len(lines)) if not lines[i].startswith(" ")), len(lines) - 1)
    return DEFECT, "\n".join(lines[starts[-1] : end + 1])
