"""The common wrapper of all commands: exit codes, --json, Ctrl-C and unexpected errors."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, TracebackType

from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import DEFECT, INTERRUPTED, REVERTED
from continuous_training.core.messages import report

NOTHING_DONE = "interrupted: nothing was done yet"

_NO_FIELDS: Mapping[str, object] = MappingProxyType({})

ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


class ItemProgress:
    """The items that a command processes one after another: those that are finished and those that are not.

    `action` is the past participle of what the command does with an item, for example "uploaded".
    """

    def __init__(self, action: str) -> None:
        self.action = action
        self.finished: list[str] = []
        self.pending: list[str] = []

    def start(self, items: Iterable[str]) -> None:
        """Set the items that the command will process."""
        self.pending = list(items)

    def finish(self, item: str) -> None:
        """Record that an item is completely processed."""
        self.pending.remove(item)
        self.finished.append(item)

    def interruption(self) -> str:
        """Return the message for Ctrl-C, with the processed and the pending items."""
        if not self.finished:
            return f"interrupted: nothing was {self.action} yet"
        pending = ", ".join(self.pending) or "nothing"
        return (
            f"interrupted: {self.action}: {', '.join(self.finished)}; not {self.action}: {pending}. "
            "Run the same command again to complete it"
        )


def run_command(
    execute: Callable[[], int],
    interruption: str | Callable[[], str] = "interrupted",
    *,
    json_output: bool = False,
    fields: Mapping[str, object] = _NO_FIELDS,
) -> int:
    """Execute a command, which prints its own result. Return the exit code of the command.

    An expected error becomes one line on standard error, an unexpected error its traceback. Ctrl-C becomes
    `interruption`: a line that states which items were processed (empty: no line). With `json_output`,
    standard output is one JSON object in these cases too: `fields`, the verdict and the reasons.
    """
    _start_up.end()
    try:
        return execute()
    except KeyboardInterrupt:
        code, verdict = INTERRUPTED, "interrupted"
        reason = interruption() if callable(interruption) else interruption
        if reason:
            report(reason)
    except Exception as error:
        code, reason = _report_error(error)
        verdict = {REVERTED: "reverted", INTERRUPTED: "interrupted"}.get(code, "failed")
    if json_output:
        print(json.dumps({**fields, "verdict": verdict, "reasons": [reason]}))  # noqa: T201
    return code


def _report_error(error: Exception) -> tuple[int, str]:
    """Report an error on standard error. Return its exit code and its message."""
    if isinstance(error, PipelineError | OSError):
        try:
            expected = as_pipeline_error(error)
        except OSError:
            pass
        else:
            report(f"error: {expected}")
            return expected.exit_code, str(expected)
    traceback.print_exception(error)
    return DEFECT, f"unexpected error: {type(error).__name__}: {error}; its traceback is on standard error"


class _StartUp:
    """The time before a command runs: its modules are imported and its arguments parsed."""

    def __init__(self) -> None:
        self.previous_hook: ExceptHook | None = None

    def begin(self) -> None:
        if self.previous_hook is None:
            self.previous_hook, sys.excepthook = sys.excepthook, self._handle

    def end(self) -> None:
        if self.previous_hook is not None:
            sys.excepthook, self.previous_hook = self.previous_hook, None

    def _handle(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            report(NOTHING_DONE)
        else:
            (self.previous_hook or sys.__excepthook__)(kind, error, trace)


_start_up = _StartUp()


def begin_start_up() -> None:
    """Report Ctrl-C in one line, without a traceback, until `run_command` is called.

    The imports of a command take a second. Only `python -m` may call this: it replaces `sys.excepthook`.
    """
    _start_up.begin()
