"""Messages to the person who runs a command: progress, hints and warnings.

They go to standard error. Standard output is for the result of a command, which scripts read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

MARK = "· "
"""The prefix of a step's progress lines. It distinguishes them from messages of libraries."""

ERROR = "step failed: "
"""The prefix of the last line of a step that failed with an expected error. JSON follows."""

RESULT = "run result: "
"""The prefix of the line with the result of the run, in the log of notify. JSON of the run record follows."""


_CLEAR_LINE = "\r\x1b[2K"


class _Terminal:
    """Whether the last line of the terminal is a message without an end, which the next message replaces."""

    has_open_line = False


def extend_message(message: str, addition: str) -> str:
    """Add a statement to an error message. A command at the end of the message keeps its line to itself."""
    return f"{message}\n{addition}" if "\n" in message else f"{message}; {addition}"


def report(message: str, transient: bool = False) -> None:
    """Write one line to standard error at once. On a terminal, the next message replaces a transient one."""
    # A result that was printed before the message also appears before it where both go to one terminal.
    sys.stdout.flush()
    if _Terminal.has_open_line:
        message = f"{_CLEAR_LINE}{message}"
    _Terminal.has_open_line = transient and sys.stderr.isatty()
    print(message, end="" if _Terminal.has_open_line else "\n", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def quiet_output() -> Iterator[None]:
    """Write to standard error what the code in the block, libraries included, prints.

    A command does its work in this block and prints its result after it.
    """
    with redirect_stdout(sys.stderr):
        yield
