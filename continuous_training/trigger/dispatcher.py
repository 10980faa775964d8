"""Starts the runs of the queue, one per workload at a time, and records how they end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus
from continuous_training.trigger.run_queue import RunQueue
from continuous_training.trigger.run_target import RunTarget
from continuous_training.trigger.run_view import read_status

log = logging.getLogger(__name__)


class Dispatcher:
    """Processes the queue in a thread. Several replicas can process the same queue.

    It looks at the queue every `interval` seconds, and immediately after `wake`. `tasks` are called before.
    """

    def __init__(self, queue: RunQueue, target: RunTarget, interval: float) -> None:
        self.queue = queue
        self.target = target
        self.interval = interval
        self.tasks: list[Callable[[], None]] = [queue.remove_old]
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Process the queue now."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread after the step in progress. Active runs continue."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def cancel(self, run: QueuedRun, trigger: RunTrigger) -> None:
        """Cancel a run. One that waits ends immediately, and one that is active when its process has ended.

        The cancellation is recorded first. A dispatcher that starts the run at the same time reads it
        afterwards, so one of both cancels it.
        """
        self.queue.record_cancellation(run, trigger)
        started = self.queue.started(run)
        if started is not None:
            self.target.cancel(run, started)
        elif not self.queue.is_claimed(run):
            self._end_cancelled(run, trigger)
        self.wake()

    def process(self) -> None:
        """Look at each workload once. An error of one workload does not affect the others."""
        for workload, runs in self.queue.unfinished().items():
            try:
                self._process_workload(runs)
            except (PipelineError, OSError) as error:
                log.warning("%s: the queue is processed again later: %s", workload, error)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            for task in (*self.tasks, self.process):
                _attempt(task)
            self._wake.wait(self.interval)

    def _process_workload(self, runs: list[QueuedRun]) -> None:
        for run in runs:
            if not self._has_ended(run):
                return

    def _has_ended(self, run: QueuedRun) -> bool:
        """Start the run, or read its state. Return whether it has ended, so that the next one can start."""
        started = self.queue.started(run)
        if started is None:
            return self._start(run)
        status = read_status(run, started, self.queue, self.target)
        if not status.verdict:
            return False
        self.queue.record_end(run, status)
        log.info("%s ended: %s", run.id, status.verdict)
        return True

    def _start(self, run: QueuedRun) -> bool:
        """Start a run, if no other replica does. Return whether it has already ended."""
        attempt = self.queue.claim(run)
        if not attempt:
            return False
        if cancelled := self.queue.cancellation(run):
            self._end_cancelled(run, cancelled)
            return True
        try:
            started = self.target.start(run, repeated=attempt > 1)
        except (TransientError, OSError) as error:
            log.warning("%s was not started and is tried again: %s", run.id, error)
            return False
        except PipelineError as error:
            log.warning("%s was not started: %s", run.id, error)
            self.queue.record_end(run, RunStatus("failed", (f"the run was not started: {error}",)))
            return True
        self.queue.record_start(run, started)
        log.info("%s started for %s: %s", run.id, run.trigger.caller, started.run)
        if self.queue.cancellation(run):
            self.target.cancel(run, self.queue.started(run) or started)
        return False

    def _end_cancelled(self, run: QueuedRun, trigger: RunTrigger) -> None:
        reason = f"cancelled by {trigger.caller} before it started"
        self.queue.record_end(run, RunStatus("interrupted", (reason,)))


def _attempt(task: Callable[[], None]) -> None:
    """Run a task. An error is logged, and the next call repeats the task."""
    try:
        task()
    except (PipelineError, OSError) as error:
        log.warning("the queue cannot be processed: %s", error)
    except Exception:
        log.exception("the queue was not processed")
