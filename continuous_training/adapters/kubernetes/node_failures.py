"""The failures of the pods that train together, and their cause.

Controllers delete failed pods or start their containers again, so a failure is read when it is observed. When
one node fails, the others fail, too, or are deleted: the first failure that is no consequence is the cause.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.core.errors import PipelineError, TransientError, UserError, error_with_code
from continuous_training.core.messages import ERROR

SETTLING = 10.0
"""Seconds after the first failure in which the failures of the other nodes are awaited."""

_LINES = 100
_SHOWN_LINES = 20
_PROCESS_FAILED = re.compile(r"failed \(exitcode: (-?\d+)\)")
"""The message of torchrun for a training process that failed. Negative: the number of a signal."""

_TORCHRUN_ENDS = re.compile(rf"{_PROCESS_FAILED.pattern}|Received \d+ death signal")
"""The first message of torchrun about its end. Its own traceback follows."""


class NodeLostError(TransientError):
    """A node was deleted or evicted, or a signal ended its training. Another try resumes the training."""


@dataclass(frozen=True)
class NodeFailure:
    """The first failure of a pod: its exit code (None: the pod has no container), reason, time and log.

    `is_deleted` states that the pod failed after its deletion was requested.
    """

    pod: str
    exit_code: int | None
    reason: str
    finished: str
    is_deleted: bool
    lines: tuple[str, ...]

    @property
    def reported_error(self) -> PipelineError | None:
        """The error that the training process reported in the log, or None."""
        for line in self.lines:
            if line.startswith(ERROR):
                report = json.loads(line.removeprefix(ERROR))
                return error_with_code(report["exit_code"], report["error"])
        return None

    @property
    def is_consequence(self) -> bool:
        """Whether the training process failed because another one did."""
        return isinstance(self.reported_error, TransientError)

    @property
    def is_interruption(self) -> bool:
        """Whether the node was lost, and the training did not fail by itself."""
        signalled = self.exit_code is None or self.exit_code >= 128
        codes = [int(code) for line in self.lines for code in _PROCESS_FAILED.findall(line)]
        return signalled or self.is_deleted or self.is_consequence or any(code < 0 for code in codes)

    def __str__(self) -> str:
        """Return the pod, how it ended, and the lines of its log before the messages of torchrun."""
        code = f"ended with exit code {self.exit_code} ({self.reason})" if self.exit_code else self.reason
        deleted = " after it was deleted" if self.is_deleted else ""
        end = next((n for n, line in enumerate(self.lines) if _TORCHRUN_ENDS.search(line)), len(self.lines))
        tail = "".join(f"\n    {line}" for line in self.lines[: end + 1][-_SHOWN_LINES:])
        return f"{self.pod} {code}{deleted}" + (f"; the last lines of its log:{tail}" if tail else "")


@dataclass
class NodeFailures:
    """The failures that were observed, by the UID of the pod."""

    cluster: Cluster
    container: str
    _failures: dict[str, NodeFailure] = field(default_factory=dict, init=False)
    _observed: int = field(default=0, init=False)
    _first: float = field(default=0.0, init=False)

    def observe(self, pods: list[Object]) -> None:
        """Record the failures of these pods that are not recorded yet."""
        self._observed = max(self._observed, len(pods))
        for pod in pods:
            uid = pod["metadata"]["uid"]
            failure = None if uid in self._failures else self._failure(pod)
            if failure:
                self._first = self._first or time.monotonic()
                self._failures[uid] = failure

    @property
    def are_complete(self) -> bool:
        """Whether all nodes have failed, or some have and the others had time to."""
        if not self._failures:
            return False
        return len(self._failures) >= self._observed or time.monotonic() - self._first > SETTLING

    def error(self, job: str, reason: str) -> PipelineError:
        """Return the error of the job, with the cause. `reason` is used if no failure was observed."""
        # Kubernetes states times in seconds. In the same second, a signal is more likely a consequence.
        ordered = sorted(
            self._failures.values(), key=lambda failure: (failure.finished, failure.is_interruption)
        )
        for failure in ordered:
            if isinstance(failure.reported_error, UserError):
                return failure.reported_error
        cause = next((failure for failure in ordered if not failure.is_consequence), None)
        if cause is None and ordered:
            cause = ordered[0]
        if cause is None:
            kind = NodeLostError if self._observed else PipelineError
            return kind(f"{job} has failed ({reason}); its pods do not exist any more")
        kind = NodeLostError if cause.is_interruption else PipelineError
        return kind(f"{job} has failed: {cause}")

    def _failure(self, pod: Object) -> NodeFailure | None:
        """Return the first failure of a pod, or None."""
        metadata, status = pod["metadata"], pod.get("status") or {}
        for container in status.get("containerStatuses") or []:
            for key in ("lastState", "state"):
                ended = (container.get(key) or {}).get("terminated")
                if container["name"] == self.container and ended and ended.get("exitCode"):
                    lines = self.cluster.logs(
                        metadata["name"], self.container, _LINES, previous=key == "lastState"
                    )
                    return NodeFailure(
                        metadata["name"],
                        int(ended["exitCode"]),
                        ended.get("reason") or "Error",
                        str(ended.get("finishedAt")),
                        _was_deleted_before(metadata, str(ended.get("finishedAt"))),
                        tuple(lines),
                    )
        if status.get("phase") != "Failed":
            return None
        reason = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
        time_text = str(metadata.get("deletionTimestamp") or metadata.get("creationTimestamp"))
        return NodeFailure(metadata["name"], None, reason or "failed", time_text, False, ())


def _was_deleted_before(metadata: Object, finished: str) -> bool:
    """Return whether the deletion of a pod was requested before its container finished, or in that second."""
    if "deletionTimestamp" not in metadata:
        return False
    # Kubernetes sets the timestamp to the end of the grace period.
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    requested = datetime.fromisoformat(metadata["deletionTimestamp"]) - grace
    return datetime.fromisoformat(finished) >= requested
