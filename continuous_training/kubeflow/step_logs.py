"""The messages of the steps of a run, from the logs of their pods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.exit_codes import DEFECT
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.messages import ERROR, MARK, RESULT
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

    @classmethod
    def from_lines(cls, step: str, pod: str, namespace: str, phase: str, lines: Sequence[str]) -> StepLog:
        """Return the messages in the lines of a log."""
        messages = tuple(line.removeprefix(MARK) for line in lines if line.startswith(MARK))
        exit_code, error = _failure(lines)
        return cls(step, pod, namespace, phase, messages, exit_code, error)

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
    return list(_read(cluster, _find_pods(cluster, run_id, step)))


def failed_step_log(cluster: Cluster, run_id: str, step: str) -> StepLog | None:
    """Return the log of the last attempt of a failed step, or None if its pods were deleted."""
    failed = [log for log in read_step_logs(cluster, run_id, step) if log.phase == "Failed"]
    return failed[-1] if failed else None


def _find_pods(cluster: Cluster, run_id: str, step: str) -> list[Json]:
    selector = f"{RUN_ID_LABEL}={run_id},{STEP_LABEL}" + (f"={step}" if step else "")
    return sorted(cluster.find(POD, selector), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def _read(cluster: Cluster, pods: Sequence[Json]) -> Iterator[StepLog]:
    for pod in pods:
        name, step = pod["metadata"]["name"], pod["metadata"]["labels"][STEP_LABEL]
        phase = pod["status"].get("phase", "Unknown")
        yield StepLog.from_lines(
            step, name, cluster.namespace, phase, cluster.logs(name, CONTAINER, MAX_LINES)
        )


def read_logged_lines(cluster: Cluster, run_id: str, step: str) -> list[str]:
    """Return the lines of the log of a step's last attempt; empty if its pods were deleted."""
    pods = _find_pods(cluster, run_id, step)
    return cluster.logs(pods[-1]["metadata"]["name"], CONTAINER, MAX_LINES) if pods else []


def logged_record(lines: Sequence[str], run_id: str) -> RunRecord | None:
    """Return the run record in the log of notify, or None if the log does not contain it."""
    for line in reversed(lines):
        if line.startswith(RESULT):
            try:
                content = json.loads(line.removeprefix(RESULT))
                record = RunRecord.from_json(JsonObject(content, "the log of notify", ArtifactError))
            except (ValueError, ArtifactError):
                return None
            return record if record.run == run_id else None
    return None


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
