"""Runs that the trigger service starts on this machine, each in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.file_lock import is_held
from continuous_training.core.json_object import JsonObject
from continuous_training.core.messages import MARK
from continuous_training.core.progress import StepEvent
from continuous_training.core.settings import Settings
from continuous_training.operations.prune_selection import RUN_LOCK
from continuous_training.serving.errors import RequestError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus, StartedRun
from pipelines.local_run.progress_events import Transcript

_STATES = {"starts": "RUNNING", "done": "SUCCEEDED", "failed": "FAILED"}
"""The states have the names that Kubeflow Pipelines uses."""


class LocalTarget:
    """Starts `pipelines.trigger.local_run` in the state directory of `settings`.

    The processes continue when the service stops. A process without a result that has not locked its run's
    folder after `start_seconds` has failed.
    """

    def __init__(self, settings: Settings, state_option: bool, start_seconds: float = 120) -> None:
        self.settings = settings
        self.state_option = state_option
        self.start_seconds = start_seconds
        self.files = settings.state / "trigger"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def check_version(self, workload: str, version: str) -> None:
        """Raise RequestError for a pinned version: a local run uses the installed pipeline."""
        if version:
            raise RequestError(
                f"a local run of {workload} uses the pipeline of this installation; omit the field version"
            )

    def start(self, run: QueuedRun, repeated: bool) -> StartedRun:
        """Start the process of a run."""
        if repeated and (self.settings.state / "runs" / run.id).exists():
            return StartedRun(run.id)
        history = RunHistory(open_store(self.settings.store, self.settings.store_access), run.workload)
        history.write_trigger(run.id, run.trigger)
        self.files.mkdir(parents=True, exist_ok=True)
        state = str(self.settings.state) if self.state_option else ""
        arguments = [run.id, run.workload, json.dumps(dict(run.parameters)), state]
        with self._result(run.id).open("wb") as result, self._log(run.id).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.trigger.local_run", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                # A group of its own: Ctrl-C ends the service and not its runs.
                start_new_session=True,
            )
        self._processes[run.id] = process
        return StartedRun(run.id, process=process.pid)

    def status(self, run: QueuedRun, started: StartedRun) -> RunStatus:
        """Read the state from the files of the run."""
        steps = self._steps(run.id)
        # Read the result after the check: a process that ends in between has written it.
        is_active = self._is_active(run, started)
        result = self._read_result(run.id)
        if is_active:
            return RunStatus(steps=steps)
        if result is None:
            reason = f"the process of the run ended without a result; see {self._log(run.id)}"
            return RunStatus("failed", (reason,), steps)
        return RunStatus(
            verdict=result.text("verdict"),
            reasons=result.text_list("reasons", []),
            steps=steps,
            report=result.text("report", ""),
            endpoint=result.text("endpoint", ""),
        )

    def cancel(self, run: QueuedRun, started: StartedRun) -> None:
        """Send SIGINT to the processes of the run, as Ctrl-C does."""
        if self._is_active(run, started) and started.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.process, signal.SIGINT)

    def _is_active(self, run: QueuedRun, started: StartedRun) -> bool:
        """Return whether the process runs: a child by its exit, one of an earlier service by its lock."""
        process = self._processes.get(run.id)
        if process is not None:
            if process.poll() is None:
                return True
            del self._processes[run.id]
            return False
        if is_held(self.settings.state / "runs" / run.id / RUN_LOCK):
            return True
        age = datetime.now(UTC) - datetime.fromisoformat(started.time)
        return self._read_result(run.id) is None and age.total_seconds() < self.start_seconds

    def _read_result(self, run_id: str) -> JsonObject | None:
        path = self._result(run_id)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return JsonObject.parse(text, str(path)) if text.strip() else None

    def _steps(self, run_id: str) -> dict[str, str]:
        steps: dict[str, str] = {}

        def record(step: str, event: StepEvent, _: str) -> None:
            if event in _STATES:
                steps[step] = _STATES[event]

        log = self.settings.state / "runs" / run_id / "log.txt"
        if log.is_file():
            transcript = Transcript(io.StringIO(), record)
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
                if not line.startswith(MARK):
                    transcript.add(line)
        return steps

    def _result(self, run_id: str) -> Path:
        return self.files / f"{run_id}.json"

    def _log(self, run_id: str) -> Path:
        return self.files / f"{run_id}.log"
