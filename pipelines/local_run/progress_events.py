"""What a local run says while it runs, read from the text that KFP and the steps print."""

from __future__ import annotations

import io
import json
import re
import time
from typing import TextIO

from components.step_cli import ERROR, MARK
from continuous_training.core.progress import StepListener

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([\w-]+)'")
_ENDED = re.compile(r"Task '([\w-]+)' finished with status (\w+)")


class Transcript(io.TextIOBase):
    """Takes the place of standard output during a run: everything goes to the log, the news to listeners.

    `seconds` holds the time of each finished step, `failure` the error that ended the run: the step, its
    exit code and its message.
    """

    def __init__(self, log: TextIO, listener: StepListener) -> None:
        self.log, self.listener = log, listener
        self.seconds: dict[str, float] = {}
        self.failure: tuple[str, int, str] | None = None
        self._step, self._began = "", 0.0
        self._line = ""

    def writable(self) -> bool:
        """Return true: this is a text stream to write to."""
        return True

    def write(self, text: str) -> int:
        """Take in text as it is printed."""
        self.log.write(text)
        self.log.flush()
        self._line += text
        *lines, self._line = self._line.split("\n")
        for line in lines:
            self._read(_ANSI.sub("", line).strip())
        return len(text)

    def _read(self, line: str) -> None:
        if match := _STARTED.search(line):
            self._step, self._began = match[1], time.perf_counter()
            self.listener(self._step, "starts", "")
        elif match := _ENDED.search(line):
            self.seconds[match[1]] = time.perf_counter() - self._began
            self.listener(match[1], "failed" if match[2] == "FAILURE" else "done", "")
            if match[2] == "FAILURE" and not self.failure:
                self.failure = (match[1], 1, f"{match[1]} failed unexpectedly; the log has its traceback")
        elif line.startswith(MARK):
            self.listener(self._step, "says", line.removeprefix(MARK))
        elif line.startswith(ERROR):
            told = json.loads(line.removeprefix(ERROR))
            self.failure = (self._step, told["exit_code"], told["error"])
