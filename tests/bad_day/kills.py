"""Kills of a run at a random moment within one of its phases."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

START, END = "start, before the first step", "end, after the last step"
STEPS = ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify")
PHASES = (START, *STEPS, END)
BETWEEN = "between two steps"

RUN, RUN_AND_SERVER, STEP = "the run", "the run and the model server", "the step"
TARGETS = (RUN, RUN_AND_SERVER, STEP)
"""What is killed: all processes of the run, those and the model server, or only the process of the step."""

_POLL_SECONDS = 0.01


@dataclass
class RunningPipeline:
    """A run in a process group of its own, which contains its steps."""

    process: subprocess.Popen[bytes]
    last_step: str = ""

    def descendants(self, pid: int | None = None) -> Iterator[int]:
        """Yield the processes that the run, or another process, has started."""
        pid = pid or self.process.pid
        with suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                yield int(child)
                yield from self.descendants(int(child))

    def step_processes(self) -> list[int]:
        """Return the processes of the current step, and note which step it is. Empty between two steps."""
        for pid in self.descendants():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"--function_to_execute" in words:
                    name = words[words.index(b"--function_to_execute") + 1]
                    self.last_step = name.decode().replace("_", "-")
                    return [pid, *self.descendants(pid)]
        return []

    def phase(self) -> str | None:
        """Return the phase of the run; None between two steps, and after the end."""
        if self.process.poll() is not None:
            return None
        if self.step_processes():
            return self.last_step
        return {"": START, STEPS[-1]: END}.get(self.last_step)

    def wait_for(self, phase: str) -> bool:
        """Wait until the phase begins. Return False if the run has ended."""
        while self.process.poll() is None:
            if self.phase() == phase:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def kill(self, target: str) -> tuple[str, str] | None:
        """Kill the processes of the target. Return the phase at that moment and what was killed.

        None if the run had ended. Between two steps, the run is killed instead of a step. The processes are
        stopped first, so that the phase is that of the kill.
        """
        self._signal_group(signal.SIGSTOP)
        phase, step = self.phase() or BETWEEN, self.step_processes()
        if self.process.poll() is not None:
            return None
        if target == STEP and step:
            for pid in step:
                # The model server, which the step may have started, is in another group.
                with suppress(ProcessLookupError):
                    if os.getpgid(pid) == self.process.pid:
                        os.kill(pid, signal.SIGKILL)
            self._signal_group(signal.SIGCONT)
        else:
            target = RUN if target == STEP else target
            self._signal_group(signal.SIGKILL)
        return phase, target

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def measure_phases(run: RunningPipeline) -> dict[str, float]:
    """Return the seconds of each phase of an undisturbed run."""
    seconds, last = dict.fromkeys(PHASES, 0.0), time.monotonic()
    while run.process.poll() is None:
        phase, now = run.phase(), time.monotonic()
        if phase is not None:
            seconds[phase] += now - last
        last = now
        time.sleep(_POLL_SECONDS)
    return seconds
