"""The server of one state folder: both ports, the lock, and what others find it by."""

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
from continuous_training.serving.http.app import App, watch
from continuous_training.serving.http.management import Management
from continuous_training.serving.models.model_repository import Repository
from continuous_training.serving.process import logs
from continuous_training.serving.process.server_loop import run
from continuous_training.serving.process.server_state import Running, StateFiles
from continuous_training.serving.process.settings import Settings
from continuous_training.serving.process.sockets import DEFAULT, listen

log = logging.getLogger(__name__)

# Somebody who looks whether the lock is held has it for an instant.
_LOCK_WITHIN = 1.0


def serve(files: StateFiles, host: str, port: int | None, settings: Settings | None = None) -> None:
    """Serve the folder's confirmed models until told to stop; only one process a folder can.

    Writes `server.json` when every model is loaded that can be, and removes it at the end.
    """
    handle = file_lock.acquire(files.lock, _LOCK_WITHIN)
    if handle is None:
        raise TransientError(f"another server lives in {files.folder}; ask it, or stop it first")
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        # What a crash left behind names a process that is not this one.
        files.server.unlink(missing_ok=True)
        last = files.last_port()
        public = listen(host, port, (last, DEFAULT) if last else (DEFAULT,))
        private = listen("127.0.0.1", None)
        _serve(files, host, public, private, settings or Settings())
    finally:
        files.server.unlink(missing_ok=True)
        os.close(handle)


def _serve(
    files: StateFiles, host: str, public: socket.socket, private: socket.socket, settings: Settings
) -> None:
    repository = Repository(files.folder, settings.threads)
    app = App(repository, settings)
    watchdogs = watch(app, settings.stall, lambda: _begin_anew(files))
    running = Running(
        pid=os.getpid(),
        port=public.getsockname()[1],
        management_port=private.getsockname()[1],
        token=secrets.token_urlsafe(32),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        host=host,
    )

    async def ready() -> None:
        await asyncio.to_thread(repository.restore)
        files.write(running)
        log.info("serving at %s, pid %d", running.url, running.pid)

    def every_moment() -> None:
        for watchdog in watchdogs:
            watchdog.look()
        repository.expire()
        logs.rotate(files.log)
        # Whoever deletes the state folder is done with its server too: nobody could find it any more.
        if not files.lock.exists():
            log.info("the state folder is gone, and so is its server")
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        run(
            (app, public),
            (Management(repository, running.token), private),
            ready,
            every_moment,
            settings,
            app.stop,
        )
    finally:
        repository.close()


def _begin_anew(files: StateFiles) -> None:
    """Put a fresh process in the place of this one, with the same pid and command line.

    Nobody else starts a background server again. The lock, the ports and whatever else is open are let
    go of by the system, since none of them is inherited.
    """
    files.server.unlink(missing_ok=True)
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
