"""Run a rollback that receives a signal at one of its writes: one child process per line of standard input.

A line contains the number of the signal, the number of the point at which the rollback sends it to itself,
and the arguments of the command. The points are before and after each write: a request that changes the
registry or the server, or the replacement of a file. The exit code is printed for each line; minus the number
of the signal if the signal ended the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from pipelines import rollback

READ_PATHS = ("/predict/", "/search", "repository/index")


class SignalPoints:
    """Counts the points, and sends the signal to this process at one of them."""

    def __init__(self, signal: int, point: int) -> None:
        self.signal, self.point, self.passed = signal, point, 0

    def wrap(self, write: Callable[..., Any], is_write: Callable[..., bool]) -> Callable[..., Any]:
        """Return a function that calls `write` and counts a point before and after it."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not is_write(*arguments):
                return write(*arguments, **options)
            self._pass_point()
            result = write(*arguments, **options)
            self._pass_point()
            return result

        return wrapped

    def _pass_point(self) -> None:
        self.passed += 1
        if self.passed == self.point:
            os.kill(os.getpid(), self.signal)


def _is_write(_: Any, request: requests.PreparedRequest) -> bool:
    return request.method != "GET" and not any(path in str(request.url) for path in READ_PATHS)


def _run(signal: int, point: int, arguments: list[str]) -> int:
    """Run the rollback in a child process. Return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if not child:
        points = SignalPoints(signal, point)
        requests.Session.send = points.wrap(requests.Session.send, _is_write)  # type: ignore[method-assign]
        Path.replace = points.wrap(Path.replace, lambda *_: True)  # type: ignore[method-assign]
        # The parent process prints the exit codes to standard output.
        os.dup2(2, 1)
        os._exit(rollback.main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Run a rollback for each line."""
    for line in sys.stdin:
        signal, point, *arguments = line.split()
        print(_run(int(signal), int(point), arguments), flush=True)


if __name__ == "__main__":
    main()
