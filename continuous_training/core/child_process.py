"""Run a function in a child process, so that a crash of its code does not end this process."""

from __future__ import annotations

import copy
import multiprocessing
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar, cast

from continuous_training.core.errors import PipelineError, TransientError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_POLL_SECONDS = 1.0
_GRACE_SECONDS = 10.0
"""Seconds between SIGTERM and SIGKILL for a child whose result is no longer needed."""


class ProcessDiedError(TransientError):
    """A signal ended a process of the training: it crashed, or the kernel killed it for its memory."""


def run_in_child(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **keywords: Arguments.kwargs
) -> Result:
    """Return the result of the function, which runs in a new interpreter. An exception is raised here, too.

    Function, arguments and result must be values that multiprocessing can transfer. Raises ProcessDiedError
    if a signal ended the child, and PipelineError if it ended without a result.
    """
    # A fork is not safe here: a CUDA context and the threads of numerical libraries do not survive it.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_execute, args=(sender, function, arguments, keywords))
    process.start()
    sender.close()
    try:
        # The death of the child is not always an end of file: processes that it started may hold the pipe.
        while not receiver.poll(_POLL_SECONDS) and process.is_alive():
            pass
        outcome = _receive(receiver)
        if outcome is not None:
            process.join()
    finally:
        _end(process)
    if outcome is None:
        raise _death(process.exitcode or 0)
    result, error = outcome
    if error is not None:
        raise error
    return cast(Result, result)


def _execute(
    sender: Connection,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    keywords: dict[str, object],
) -> None:
    """Call the function in the child and send its result and its exception, one of which is None."""
    try:
        sender.send((function(*arguments, **keywords), None))
    except Exception as error:
        error.add_note(f"In the child process:\n{''.join(traceback.format_exception(error))}")
        sender.send((None, _portable(error)))


def _portable(error: Exception) -> Exception:
    """Return the error, or a PipelineError with its text if another process cannot restore it."""
    try:
        # A copy uses the protocol that also restores the error in the other process.
        copy.copy(error)
    except Exception:
        replacement = PipelineError(f"unexpected error: {type(error).__name__}: {error}")
        replacement.__notes__ = error.__notes__
        return replacement
    return error


def _receive(receiver: Connection) -> tuple[Any, Exception | None] | None:
    """Return the result and the exception of the child, or None if it ended before."""
    try:
        return receiver.recv() if receiver.poll() else None
    except EOFError:
        return None


def _end(process: BaseProcess) -> None:
    """End the child if it still runs, and wait for it."""
    if process.is_alive():
        process.terminate()
        process.join(_GRACE_SECONDS)
        process.kill()
    process.join()


def _death(exit_code: int) -> PipelineError:
    """Return the error for a child that ended without a result. A negative code is the number of a signal."""
    if exit_code >= 0:
        return PipelineError(f"the process ended with exit code {exit_code} before it had a result")
    name = signal.Signals(-exit_code).name
    remedy = "; if its memory was exhausted, increase `memory` of the step" if name == "SIGKILL" else ""
    return ProcessDiedError(f"the process was ended by {name} (signal {-exit_code}){remedy}")
