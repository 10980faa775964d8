"""A verb that is cut off at any of its writes: forks one for each line of standard input.

A line is a signal's number, the number of the point at which the verb sends it to itself, and the verb's
arguments. A point is before or after a write: one to registry or server, or a file that is put in place.
Prints the exit code, minus the signal's number where that ended it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from pipelines import rollback

READS = ("/predict/", "/search", "repository/index")


class Points:
    """Counts the points and sends the signal at the one that was asked for."""

    def __init__(self, signal: int, wanted: int) -> None:
        self.signal, self.wanted, self.passed = signal, wanted, 0

    def around(self, write: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            if not counts(*arguments):
                return write(*arguments, **more)
            self._pass()
            result = write(*arguments, **more)
            self._pass()
            return result

        return counted

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.wanted:
            os.kill(os.getpid(), self.signal)


def _is_write(_: Any, request: requests.PreparedRequest) -> bool:
    return request.method != "GET" and not any(part in str(request.url) for part in READS)


def _run(signal: int, wanted: int, arguments: list[str]) -> int:
    """Run the verb in a process of its own; returns its exit code or minus the signal that ended it."""
    child = os.fork()
    if not child:
        points = Points(signal, wanted)
        requests.Session.send = points.around(requests.Session.send, _is_write)  # type: ignore[method-assign]
        Path.replace = points.around(Path.replace, lambda *_: True)  # type: ignore[method-assign]
        # Standard output is the test's.
        os.dup2(2, 1)
        os._exit(rollback.main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Serve the lines."""
    for line in sys.stdin:
        signal, wanted, *arguments = line.split()
        print(_run(int(signal), int(wanted), arguments), flush=True)


if __name__ == "__main__":
    main()
