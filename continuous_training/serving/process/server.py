"""The background server of a state directory: lock, ports, confirmed models and server.json."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from datetime import UTC, datetime

from continuous_training.core import file_lock
from continuous_training.core.errors import TransientError
from continuous_training.serving.http.management import ManagementApp
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process import logs
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.server_loop import (
    ManagementServer,
    ServerEvents,
    run,
)
from continuous_training.serving.process.settings import ServerSettings
from continuous_training.serving.process.sockets import DEFAULT_PORT, listen
from continuous_training.serving.process.state_files import RunningServer, StateFiles

log = logging.getLogger(__name__)

# A process that checks whether the lock is held takes the lock for a moment.
_LOCK_SECONDS = 1.0


def serve(files: StateFiles, host: str, port: int | None, settings: ServerSettings | None = None) -> None:
    """Serve the confirmed models of a state directory until SIGTERM or SIGINT.

    Writes `server.json` after the models are loaded, and removes it at the end. Raises TransientError if
    another server holds the lock of the directory.
    """
    handle = file_lock.acquire(files.lock, _LOCK_SECONDS)
    if handle is None:
        raise TransientError(f"another server already runs in {files.folder}; use it, or stop it first")
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        # A server that crashed leaves a file that names another process.
        files.server.unlink(missing_ok=True)
        last_port = files.last_port()
        public_socket = listen(host, port, (last_port, DEFAULT_PORT) if last_port else (DEFAULT_PORT,))
        management_socket = listen("127.0.0.1", None)
        _serve(files, handle, host, public_socket, management_socket, settings or ServerSettings())
    finally:
        files.server.unlink(missing_ok=True)
        os.close(handle)


def _serve(
    files: StateFiles,
    lock: int,
    host: str,
    public_socket: socket.socket,
    management_socket: socket.socket,
    settings: ServerSettings,
) -> None:
    repository = ModelRepository(files.folder, settings.threads)
    application = ServerApplication(repository, settings)
    watchdogs = application.watchdogs(lambda: _replace_process(files))
    running = RunningServer(
        pid=os.getpid(),
        port=public_socket.getsockname()[1],
        management_port=management_socket.getsockname()[1],
        token=secrets.token_urlsafe(32),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        host=host,
    )

    async def load_models() -> None:
        await asyncio.to_thread(repository.restore)
        files.write(running)
        log.info("serving at %s, pid %d", running.url, running.pid)

    def run_periodic_tasks() -> None:
        for watchdog in watchdogs:
            watchdog.check()
        repository.revert_expired_trials()
        logs.rotate(files.log)
        if files.is_locked_by(lock):
            repository.persisted.repair()
            if files.repair(running):
                log.warning("%s or %s was damaged: both are written again", files.server, files.port)
        # Without the state directory, no command can find this server.
        if not files.lock.exists():
            log.info("the state directory was deleted: the server stops")
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        run(
            application.public_server(public_socket),
            ManagementServer(ManagementApp(repository, running.token), management_socket),
            ServerEvents(load_models, run_periodic_tasks, application.begin_shutdown),
            settings,
        )
    finally:
        repository.close()


def _replace_process(files: StateFiles) -> None:
    """Replace this process with a new one that has the same process id and command line.

    No supervisor restarts a background server. The lock and the sockets are not inheritable, so the
    operating system releases them.
    """
    files.server.unlink(missing_ok=True)
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
