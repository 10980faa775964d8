"""Supervises several worker processes that serve one port.

This process serves no requests. It keeps the listening sockets open, so that connections to a worker that has
ended wait for its replacement.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.messages import report as report_error

log = logging.getLogger(__name__)

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_SIGNALS = {*_STOP_SIGNALS, signal.SIGCHLD}
_FAST_POLL_SECONDS, _POLL_SECONDS = 0.05, 60.0
"""The intervals of the checks while a worker starts or is stopped, and otherwise."""


class Serve(Protocol):
    """The function that a worker runs in its own process until SIGTERM."""

    def __call__(
        self, public_socket: socket.socket, ready: Callable[[Sequence[str]], None], number: int
    ) -> None:
        """Serve on the socket. Call `ready` once, with messages for the user, when requests are served."""


@dataclass
class _Worker:
    """A worker process, and the read end of the pipe to which it writes its messages when it is ready.

    `stopped_at` is the time at which it was stopped by a signal such as SIGSTOP, on the monotonic clock; None
    if it runs.
    """

    pid: int
    pipe: int
    output: bytes = b""
    ready: bool = False
    stopped_at: float | None = None


def run(sockets: list[socket.socket], serve: Serve, report: Callable[[str], None], stall: float) -> int:
    """Run a worker for each socket until SIGTERM or SIGINT, and return the exit code.

    The other workers start when the first one is ready, so that an archive that cannot be loaded causes one
    error. A worker that was ready and ended is replaced. A worker that was stopped by a signal for `stall`
    seconds is killed; its own watchdogs detect all other ways to hang. If a worker ends before it is ready,
    all workers are stopped, and its exit code is returned.
    """
    # Blocked signals stay pending until sigtimedwait returns them.
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    workers: dict[int, _Worker] = {}
    reported = all_ready = False
    try:
        while True:
            first_ready = any(worker.ready for worker in workers.values())
            for number in range(len(sockets) if first_ready else 1):
                if number not in workers:
                    workers[number] = _start(sockets, number, serve)
            received = signal.sigtimedwait(_SIGNALS, _poll_seconds(workers.values(), all_ready))
            if received is not None and received.si_signo in _STOP_SIGNALS:
                return 0
            for number, worker in list(workers.items()):
                _read_output(worker)
                code = _exit_code(worker)
                if code is None:
                    _kill_if_stopped(number, worker, stall)
                    continue
                del workers[number]
                os.close(worker.pipe)
                if not worker.ready:
                    return code or 1
                log.warning("worker %d ended with exit code %d and is replaced", number, code)
            all_ready = len(workers) == len(sockets) and all(worker.ready for worker in workers.values())
            if all_ready and not reported:
                reported = True
                for line in workers[0].output.decode().splitlines():
                    report(line)
    finally:
        _stop(sockets, list(workers.values()))
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def _poll_seconds(workers: Iterable[_Worker], all_ready: bool) -> float:
    is_stopped = any(worker.stopped_at is not None for worker in workers)
    return _POLL_SECONDS if all_ready and not is_stopped else _FAST_POLL_SECONDS


def _start(sockets: list[socket.socket], number: int, serve: Serve) -> _Worker:
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write_end)
        os.set_blocking(read_end, False)
        return _Worker(pid, read_end)
    code = 1
    try:
        os.close(read_end)
        for other in sockets:
            # If this process kept the sockets of other workers open, clients of an ended worker would wait.
            if other is not sockets[number]:
                other.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

        def ready(lines: Sequence[str]) -> None:
            os.write(write_end, "\n".join([*lines, "\0"]).encode())
            os.close(write_end)

        # A parent that was killed in the meantime cannot stop this process.
        if os.getppid() == parent:
            serve(sockets[number], ready, number)
            code = 0
    except (PipelineError, OSError) as error:
        pipeline_error = as_pipeline_error(error)
        report_error(f"error: {pipeline_error}")
        code = pipeline_error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read_output(worker: _Worker) -> None:
    """Read the messages of a worker that starts."""
    if worker.ready:
        return
    try:
        worker.output += os.read(worker.pipe, 1 << 16)
    except BlockingIOError:
        return
    if worker.output.endswith(b"\0"):
        worker.ready, worker.output = True, worker.output[:-1]


def _exit_code(worker: _Worker) -> int | None:
    """Return the exit code of a worker that has ended, or None. It is 128 + N after signal N."""
    pid, status = os.waitpid(worker.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
    if not pid:
        return None
    if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
        worker.stopped_at = time.monotonic() if os.WIFSTOPPED(status) else None
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _kill_if_stopped(number: int, worker: _Worker, stall: float) -> None:
    if worker.stopped_at is not None and time.monotonic() - worker.stopped_at >= stall:
        log.critical("worker %d has been stopped for more than %g s and is killed", number, stall)
        os.kill(worker.pid, signal.SIGKILL)
        worker.stopped_at = None


def _stop(sockets: list[socket.socket], workers: list[_Worker]) -> None:
    """Stop all workers, and wait until they have completed their requests."""
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGCONT)  # A stopped process would not handle SIGTERM.
    # The workers keep their own copies open while they serve. After that, clients get "connection refused".
    for listening_socket in sockets:
        listening_socket.close()
    for worker in workers:
        os.waitpid(worker.pid, 0)
