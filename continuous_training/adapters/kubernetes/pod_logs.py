"""Follow the log of a Job's pods in a thread, and keep the last lines."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.core.errors import PipelineError

KEPT = 20
_PAUSE = 1.0


class PodLog:
    """Passes each line of a container's log to `on_line` exactly once, also across lost connections.

    `error` is the first error that `on_line` returned, and `last` the last lines. When a pod or a run of its
    container ends, the next one (a retry of the Job) is read.
    """

    def __init__(
        self, cluster: Cluster, container: str, on_line: Callable[[str], PipelineError | None]
    ) -> None:
        self._cluster, self._container, self._on_line = cluster, container, on_line
        self._last: deque[str] = deque(maxlen=KEPT)
        self._read_runs: set[tuple[str, int]] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self.error: PipelineError | None = None

    @property
    def last(self) -> list[str]:
        """The last lines, at most KEPT."""
        return list(self._last)

    def follow(self, pods: list[Object]) -> None:
        """Start to read the log of the last created pod whose container has started.

        No effect if that log was read already, or while another log is being read.
        """
        started = [pod for pod in pods if self._restart_count(pod) is not None]
        if not started or (self._thread and self._thread.is_alive()):
            return
        newest = max(started, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        run = (str(newest["metadata"]["uid"]), self._restart_count(newest) or 0)
        if run not in self._read_runs:
            self._read_runs.add(run)
            self._thread = threading.Thread(
                target=self._read, args=(newest["metadata"]["name"], run), name="pod-log", daemon=True
            )
            self._thread.start()

    def drain(self, seconds: float = 10.0) -> None:
        """Wait until the log of an ended container is read, for at most `seconds`."""
        if self._thread:
            self._thread.join(seconds)

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()

    def _restart_count(self, pod: Object) -> int | None:
        """Return the number of restarts of the container, or None if it has not started."""
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            state = status.get("state") or {}
            if status.get("name") == self._container and ("running" in state or "terminated" in state):
                return int(status.get("restartCount") or 0)
        return None

    def _read(self, pod: str, run: tuple[str, int]) -> None:
        passed = 0
        while not self._closed.is_set():
            # After a lost connection, the log is read again from its first line.
            count = 0
            with contextlib.suppress(PipelineError):
                for line in self._cluster.follow_logs(pod, self._container):
                    if self._closed.is_set():
                        return
                    count += 1
                    if count > passed:
                        passed = count
                        self._pass_line(line)
            if self._has_ended(pod, run):
                return
            self._closed.wait(_PAUSE)

    def _pass_line(self, line: str) -> None:
        self._last.append(line)
        self.error = self.error or self._on_line(line)

    def _has_ended(self, pod: str, run: tuple[str, int]) -> bool:
        """Return whether this run of the container has ended, so that its log is complete."""
        with contextlib.suppress(PipelineError):
            current = self._cluster.get(POD, pod)
            if current is None or current["metadata"]["uid"] != run[0]:
                return True
            for status in (current.get("status") or {}).get("containerStatuses") or []:
                if status.get("name") == self._container:
                    is_running = "running" in (status.get("state") or {})
                    return not is_running or status.get("restartCount", 0) != run[1]
        return False
