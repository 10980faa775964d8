"""Several processes on one port: each serves the same models, and the system deals the connections out.

This process answers nothing itself. It holds a listening socket for each worker, so that what has connected
to one that ended is answered by the one that takes its place.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.messages import report

log = logging.getLogger(__name__)

_ENDS = {signal.SIGTERM, signal.SIGINT}
_HEARD = {*_ENDS, signal.SIGCHLD}
_MOMENT, _LONG = 0.05, 60.0


class Serve(Protocol):
    """What a worker does in a process of its own, until SIGTERM."""

    def __call__(self, public: socket.socket, ready: Callable[[Sequence[str]], None], number: int) -> None:
        """Serve on `public`, and call `ready` once with what there is to say."""


@dataclass
class _Worker:
    """A process, and the end of the pipe that it says its lines into once it is ready."""

    pid: int
    pipe: int
    said: bytes = b""
    ready: bool = False


def run(sockets: list[socket.socket], serve: Serve, say: Callable[[str], None]) -> int:
    """Keep a worker at each socket until SIGTERM or SIGINT; returns the exit code.

    The first one is ready before the others begin: what cannot be loaded is found out once. A worker that
    was ready and ended has a new one in its place; one that ends before it is ready ends all, with its code.
    """
    # From here on they wait until they are asked for.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    workers: dict[int, _Worker] = {}
    told = complete = False
    try:
        while True:
            wanted = range(len(sockets)) if any(w.ready for w in workers.values()) else range(1)
            for number in wanted:
                if number not in workers:
                    workers[number] = _begin(sockets, number, serve)
            heard = signal.sigtimedwait(_HEARD, _LONG if complete else _MOMENT)
            if heard is not None and heard.si_signo in _ENDS:
                return 0
            for number, worker in list(workers.items()):
                _listen(worker)
                code = _code(worker)
                if code is None:
                    continue
                del workers[number]
                os.close(worker.pipe)
                if not worker.ready:
                    return code or 1
                log.warning("worker %d ended (%d); a new one takes its place", number, code)
            complete = len(workers) == len(sockets) and all(w.ready for w in workers.values())
            if complete and not told:
                told = True
                for line in workers[0].said.decode().splitlines():
                    say(line)
    finally:
        _end(sockets, list(workers.values()))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(sockets: list[socket.socket], number: int, serve: Serve) -> _Worker:
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.set_blocking(reading, False)
        return _Worker(pid, reading)
    code = 1
    try:
        os.close(reading)
        for other in sockets:
            # Who connects when its worker has ended is refused, rather than kept waiting by this one.
            if other is not sockets[number]:
                other.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)

        def ready(lines: Sequence[str]) -> None:
            os.write(writing, "\n".join([*lines, "\0"]).encode())
            os.close(writing)

        # A parent that was killed while this process began will not end it.
        if os.getppid() == parent:
            serve(sockets[number], ready, number)
            code = 0
    except (PipelineError, OSError) as error:
        understood = as_pipeline_error(error)
        report(f"error: {understood}")
        code = understood.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _listen(worker: _Worker) -> None:
    """Read what a worker has to say."""
    if worker.ready:
        return
    try:
        worker.said += os.read(worker.pipe, 1 << 16)
    except BlockingIOError:
        return
    if worker.said.endswith(b"\0"):
        worker.ready, worker.said = True, worker.said[:-1]


def _code(worker: _Worker) -> int | None:
    """Return the exit code of a worker that has ended; 128 and the signal's number if that ended it."""
    pid, status = os.waitpid(worker.pid, os.WNOHANG)
    if not pid:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end(sockets: list[socket.socket], workers: list[_Worker]) -> None:
    """Let every worker answer what it has taken, and wait for that."""
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
    # Theirs are open as long as they answer; what connects after that is refused at once.
    for public in sockets:
        public.close()
    for worker in workers:
        os.waitpid(worker.pid, 0)
