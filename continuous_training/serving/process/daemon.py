"""Starting, finding and stopping the server of a state folder, from any process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.file_lock import held, is_held
from continuous_training.serving.process.server_state import Running, StateFiles
from continuous_training.serving.process.sockets import DEFAULT

START_SECONDS = 30.0
STOP_SECONDS = 15.0
TAKEN = " is taken, so "
"""Stands in the line that says why the server answers elsewhere than expected."""

# Kept so that a server that ends is reaped, and its handle is not complained about before that.
_children: dict[int, subprocess.Popen[bytes]] = {}


def start(
    state: Path,
    port: int | None = None,
    *,
    host: str = "127.0.0.1",
    say: Callable[[str], None] = lambda _: None,
) -> Running:
    """Start the server of `STATE/serving`, detached, and return when it answers; or find it running.

    Without `port` it gets the one that it had last, or 8080, or any that is free, and `say` hears of it.
    UserError when `port` is taken, or the server runs on another one; PipelineError with the log's end
    when it does not start.
    """
    files = StateFiles.of(state)
    with held(files.starting, START_SECONDS + STOP_SECONDS) as mine:
        if not mine:
            raise TransientError(
                f"somebody else is starting or stopping the server in {files.folder}; try again"
            )
        if (running := _found(files)) is not None:
            if port and port != running.port:
                raise UserError(
                    f"the server runs already, on port {running.port}; stop it before giving it port {port}"
                )
            say(f"already serving at {running.url} (pid {running.pid})")
            return running
        # What a crash left behind tells of nobody.
        files.server.unlink(missing_ok=True)
        wanted = files.last_port() or DEFAULT
        running = _await_ready(files, _spawn(files, host, port))
    if port is None and running.port != wanted:
        say(f"port {wanted}{TAKEN}port {running.port} is used")
    say(f"serving at {running.url} (pid {running.pid})")
    return running


def status(state: Path) -> Running | None:
    """Find the server of a state folder; None when none lives there."""
    return StateFiles.of(state).running() if (state / "serving").is_dir() else None


def stop(state: Path) -> bool:
    """Stop the server of a state folder once its requests are done; says whether there was one.

    TransientError when it does not end, even when it is killed.
    """
    files = StateFiles.of(state)
    with held(files.starting, START_SECONDS + STOP_SECONDS) as mine:
        if not mine:
            raise TransientError(
                f"somebody else is starting or stopping the server in {files.folder}; try again"
            )
        running = _found(files)
        if running is None and is_held(files.lock):
            raise TransientError(f"the server in {files.folder} is starting, and not done with it; try again")
        if running is None:
            files.server.unlink(missing_ok=True)
            return False
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
            _signal(running.pid, number)
            if _ended(files, running.pid, seconds):
                files.server.unlink(missing_ok=True)
                return True
    raise TransientError(f"the server (pid {running.pid}) does not end; see {files.log}")


def _found(files: StateFiles) -> Running | None:
    """Find a living server, giving one that was not started here the time to become ready."""
    deadline = time.monotonic() + START_SECONDS
    while is_held(files.lock) and time.monotonic() < deadline:
        if (running := files.running()) is not None:
            return running
        time.sleep(0.02)
    return files.running()


def _spawn(files: StateFiles, host: str, port: int | None) -> tuple[subprocess.Popen[bytes], int]:
    state = str(files.folder.parent)
    command = [
        sys.executable,
        "-m",
        "continuous_training.serving.process.background",
        "--state",
        state,
        "--host",
        host,
    ]
    if port is not None:
        command += ["--port", str(port)]
    with files.log.open("ab") as log:
        begin = log.tell()
        child = subprocess.Popen(
            command,
            # `-m` finds this very package there, wherever it is installed.
            cwd=Path(__file__).resolve().parents[3],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _children[child.pid] = child
    return child, begin


def _await_ready(files: StateFiles, spawned: tuple[subprocess.Popen[bytes], int]) -> Running:
    child, begin = spawned
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = files.running()
        if running is not None and running.pid == child.pid:
            return running
        code = child.poll()
        # Somebody may have started one past this module, and been quicker.
        if code == TransientError.exit_code and (other := _found(files)) is not None:
            return other
        if code is not None:
            raise _failure(files, begin, code)
        time.sleep(0.02)
    _signal(child.pid, signal.SIGKILL)
    _ended(files, child.pid, 5.0)
    raise PipelineError(f"the server was not ready in {START_SECONDS:.0f} s. {_tail(files, begin)}")


def _failure(files: StateFiles, begin: int, code: int) -> PipelineError:
    tail = _tail(files, begin)
    if code == UserError.exit_code and "error: " in tail:
        return UserError(tail.rpartition("error: ")[2].strip())
    return PipelineError(f"the server ended at once, with exit code {code}. {tail}")


def _tail(files: StateFiles, begin: int) -> str:
    with files.log.open("rb") as log:
        log.seek(begin)
        lines = log.read().decode(errors="replace").splitlines()[-20:]
    return f"The end of {files.log}:\n" + "\n".join(lines)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _ended(files: StateFiles, pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_held(files.lock):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    if (child := _children.pop(pid, None)) is not None:
        child.wait()
    return True
