"""The log of one pod after another, line by line, beside what else goes on; the last lines are kept."""

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
    """Hands each line of a container's log to `hear`, once, whatever becomes of the connection.

    `error` is the first one that `hear` has returned, `last` the last lines. When a pod or a container's run
    has ended, the next one (a Job's next try) is read.
    """

    def __init__(self, cluster: Cluster, container: str, hear: Callable[[str], PipelineError | None]) -> None:
        self._cluster, self._container, self._hear = cluster, container, hear
        self._last: deque[str] = deque(maxlen=KEPT)
        self._seen: set[tuple[str, int]] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self.error: PipelineError | None = None

    @property
    def last(self) -> list[str]:
        """The last lines, at most KEPT."""
        return list(self._last)

    def follow(self, pods: list[Object]) -> None:
        """Begin with the newest of the pods whose container has started, unless it is read already."""
        begun = [pod for pod in pods if self._run(pod) is not None]
        if not begun or (self._thread and self._thread.is_alive()):
            return
        newest = max(begun, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        run = (str(newest["metadata"]["uid"]), self._run(newest) or 0)
        if run not in self._seen:
            self._seen.add(run)
            self._thread = threading.Thread(
                target=self._read, args=(newest["metadata"]["name"], run), name="pod-log", daemon=True
            )
            self._thread.start()

    def drain(self, seconds: float = 10.0) -> None:
        """Wait until what is there has been read, for a container that has ended."""
        if self._thread:
            self._thread.join(seconds)

    def close(self) -> None:
        """Read no more."""
        self._closed.set()

    def _run(self, pod: Object) -> int | None:
        """Return which run of the container has begun, from 0; None when none has."""
        for one in (pod.get("status") or {}).get("containerStatuses") or []:
            state = one.get("state") or {}
            if one.get("name") == self._container and ("running" in state or "terminated" in state):
                return int(one.get("restartCount") or 0)
        return None

    def _read(self, pod: str, run: tuple[str, int]) -> None:
        heard = 0
        while not self._closed.is_set():
            # A log that is read anew begins at its first line.
            count = 0
            with contextlib.suppress(PipelineError):
                for line in self._cluster.follow_logs(pod, self._container):
                    if self._closed.is_set():
                        return
                    count += 1
                    if count > heard:
                        heard = count
                        self._take(line)
            if self._over(pod, run):
                return
            self._closed.wait(_PAUSE)

    def _take(self, line: str) -> None:
        self._last.append(line)
        self.error = self.error or self._hear(line)

    def _over(self, pod: str, run: tuple[str, int]) -> bool:
        """Tell whether this run of the container has ended: its log will not grow any more."""
        with contextlib.suppress(PipelineError):
            found = self._cluster.get(POD, pod)
            if found is None or found["metadata"]["uid"] != run[0]:
                return True
            for one in (found.get("status") or {}).get("containerStatuses") or []:
                if one.get("name") == self._container:
                    return "running" not in (one.get("state") or {}) or one.get("restartCount", 0) != run[1]
        return False
