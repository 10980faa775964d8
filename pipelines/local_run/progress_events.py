"""Read the progress of a local run from the text that KFP and the steps print."""

from __future__ import annotations

import json
import re
import time
from typing import TextIO

from continuous_training.core.messages import ERROR, MARK
from continuous_training.core.progress import StepListener

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([\w-]+)'")
_ENDED = re.compile(r"Task '([\w-]+)' finished with status (\w+)")


class Transcript:
    """The output of a run. Each line is written to the log, and events are passed to the listener.

    `seconds` contains the duration of each finished step. `failure` is the error that ended the run: the
    step, its exit code and its message.
    """

    def __init__(self, log: TextIO, listener: StepListener) -> None:
        self.log, self.listener = log, listener
        self.seconds: dict[str, float] = {}
        self.failure: tuple[str, int, str] | None = None
        self._step, self._started = "pipeline", 0.0

    def add(self, line: str) -> None:
        """Write a line to the log, and report its event if it has one."""
        self.log.write(line)
        self.log.flush()
        self._report_event(_ANSI.sub("", line).strip())

    def _report_event(self, line: str) -> None:
        if match := _STARTED.search(line):
            self._step, self._started = match[1], time.perf_counter()
            self.listener(self._step, "starts", "")
        elif match := _ENDED.search(line):
            self.seconds[match[1]] = time.perf_counter() - self._started
            self.listener(match[1], "failed" if match[2] == "FAILURE" else "done", "")
            if match[2] == "FAILURE" and not self.failure:
                self.failure = (
                    match[1],
                    1,
                    f"{match[1]} failed unexpectedly; the log contains its traceback",
                )
        elif line.startswith(MARK):
            self.listener(self._step, "says", line.removeprefix(MARK))
        elif line.startswith(ERROR):
            error = json.loads(line.removeprefix(ERROR))
            # notify runs after a failed step. The first failure is the cause.
            if self.failure is None or self.failure[0] == self._step:
                self.failure = (self._step, error["exit_code"], error["error"])
