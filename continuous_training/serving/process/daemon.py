"""Start, find and stop the background server of a state directory, from any process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.file_lock import hold_lock, is_held
from continuous_training.serving.process.sockets import DEFAULT_PORT
from continuous_training.serving.process.state_files import RunningServer, StateFiles

START_SECONDS = 30.0
STOP_SECONDS = 15.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02
PORT_TAKEN = " is taken, so "
"""Part of the message that reports a change of the server's port."""

# A reference to each child process: Python warns when it collects one that is still running.
_children: dict[int, subprocess.Popen[bytes]] = {}


def start(
    state: Path,
    port: int | None = None,
    *,
    host: str = "127.0.0.1",
    report: Callable[[str], None] = lambda _: None,
) -> RunningServer:
    """Start the server of `STATE/serving` as a detached process, or return the server that already runs.

    Returns when the server is ready. Without `port`, the server uses its last port, or 8080, or any free
    port. `report` receives a message with the server's address, and one if its port changes. Raises
    UserError if `port` is taken or the server runs on another port, and PipelineError with the end of the
    log if the server does not start.
    """
    files = StateFiles.of(state)
    with _exclusive(files):
        if (running := _wait_for_server(files)) is not None:
            if port and port != running.port:
                raise UserError(
                    f"the server already runs on port {running.port}; "
                    f"stop it before you start it on port {port}"
                )
            report(f"already serving at {running.url} (pid {running.pid})")
            return running
        # The file of a server that crashed names a process that does not exist any more.
        files.server.unlink(missing_ok=True)
        expected_port = files.last_port() or DEFAULT_PORT
        running = _wait_until_ready(files, _spawn(files, host, port))
    if port is None and running.port != expected_port:
        report(f"port {expected_port}{PORT_TAKEN}port {running.port} is used")
    report(f"serving at {running.url} (pid {running.pid})")
    return running


def status(state: Path) -> RunningServer | None:
    """Return the running server of a state directory, or None."""
    return StateFiles.of(state).running() if (state / "serving").is_dir() else None


def stop(state: Path) -> bool:
    """Stop the server of a state directory after its current requests; return False if none is running.

    Raises TransientError if the process does not end even after SIGKILL.
    """
    files = StateFiles.of(state)
    with _exclusive(files):
        running = _wait_for_server(files)
        if running is None and is_held(files.lock):
            raise TransientError(f"the server in {files.folder} is still starting; try again")
        if running is None:
            files.server.unlink(missing_ok=True)
            return False
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            _signal(running.pid, number)
            if _wait_until_ended(files, running.pid, seconds):
                files.server.unlink(missing_ok=True)
                return True
    raise TransientError(f"the server (pid {running.pid}) does not end; see {files.log}")


@dataclass(frozen=True)
class _SpawnedServer:
    """A server process that this process started, and the position in the log where its output begins."""

    process: subprocess.Popen[bytes]
    log_start: int


@contextmanager
def _exclusive(files: StateFiles) -> Iterator[None]:
    """Prevent other processes from starting or stopping the server during the block."""
    with hold_lock(files.starting, START_SECONDS + STOP_SECONDS) as acquired:
        if not acquired:
            raise TransientError(
                f"another process is starting or stopping the server in {files.folder}; try again"
            )
        yield


def _wait_for_server(files: StateFiles) -> RunningServer | None:
    """Return the running server. Wait for a server that holds the lock and is not ready yet."""
    deadline = time.monotonic() + START_SECONDS
    while is_held(files.lock) and time.monotonic() < deadline:
        if (running := files.running()) is not None:
            return running
        time.sleep(POLL_SECONDS)
    return files.running()


def _spawn(files: StateFiles, host: str, port: int | None) -> _SpawnedServer:
    module = "continuous_training.serving.process.background"
    command = [sys.executable, "-m", module, "--state", str(files.folder.parent), "--host", host]
    if port is not None:
        command += ["--port", str(port)]
    with files.log.open("ab") as log:
        log_start = log.tell()
        process = subprocess.Popen(
            command,
            # With `-m`, Python searches the working directory: the server must run this copy of the package.
            cwd=Path(__file__).resolve().parents[3],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _children[process.pid] = process
    return _SpawnedServer(process, log_start)


def _wait_until_ready(files: StateFiles, spawned: _SpawnedServer) -> RunningServer:
    process = spawned.process
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = files.running()
        if running is not None and running.pid == process.pid:
            return running
        code = process.poll()
        # A server that was started without this module may have taken the lock first.
        if code == TransientError.exit_code and (other := _wait_for_server(files)) is not None:
            return other
        if code is not None:
            raise _start_error(files, spawned.log_start, code)
        time.sleep(POLL_SECONDS)
    _signal(process.pid, signal.SIGKILL)
    _wait_until_ended(files, process.pid, KILL_SECONDS)
    end_of_log = _end_of_log(files, spawned.log_start)
    raise PipelineError(f"the server was not ready after {START_SECONDS:.0f} s. {end_of_log}")


def _start_error(files: StateFiles, log_start: int, code: int) -> PipelineError:
    end_of_log = _end_of_log(files, log_start)
    if code == UserError.exit_code and "error: " in end_of_log:
        return UserError(end_of_log.rpartition("error: ")[2].strip())
    return PipelineError(f"the server ended during its start, with exit code {code}. {end_of_log}")


def _end_of_log(files: StateFiles, log_start: int) -> str:
    with files.log.open("rb") as log:
        log.seek(log_start)
        lines = log.read().decode(errors="replace").splitlines()[-20:]
    return f"The end of {files.log}:\n" + "\n".join(lines)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait_until_ended(files: StateFiles, pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_held(files.lock):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    if (child := _children.pop(pid, None)) is not None:
        child.wait()
    return True
