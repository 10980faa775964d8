"""The server of one state folder: both ports, the lock, and what others find it by."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path

from adapters.errors import PipelineError, TransientError

from . import lock
from .app import App
from .listening import run
from .management import Management
from .ports import DEFAULT, listen
from .repository import Repository
from .running import Running, StateFiles

# Somebody who looks whether the lock is held has it for an instant.
_LOCK_WITHIN = 1.0


def serve(files: StateFiles, host: str, port: int | None) -> None:
    """Serve the folder's confirmed models until told to stop; only one process a folder can.

    Writes `server.json` when every model is loaded that can be, and removes it at the end.
    """
    handle = lock.acquire(files.lock, _LOCK_WITHIN)
    if handle is None:
        raise TransientError(f"another server lives in {files.folder}; ask it, or stop it first")
    try:
        # What a crash left behind names a process that is not this one.
        files.server.unlink(missing_ok=True)
        last = files.last_port()
        public = listen(host, port, (last, DEFAULT) if last else (DEFAULT,))
        private = listen("127.0.0.1", None)
        asyncio.run(_serve(files, host, public, private))
    finally:
        files.server.unlink(missing_ok=True)
        os.close(handle)


async def _serve(files: StateFiles, host: str, public: socket.socket, private: socket.socket) -> None:
    repository = Repository(files.folder)
    running = Running(
        pid=os.getpid(),
        port=public.getsockname()[1],
        management_port=private.getsockname()[1],
        token=secrets.token_urlsafe(32),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        host=host,
    )

    async def ready() -> None:
        await asyncio.to_thread(repository.restore)
        files.write(running)
        logging.info("serving at %s, pid %d", running.url, running.pid)

    def every_moment() -> None:
        repository.expire()
        # Whoever deletes the state folder is done with its server too: nobody could find it any more.
        if not files.lock.exists():
            logging.info("the state folder is gone, and so is its server")
            os.kill(os.getpid(), signal.SIGTERM)

    apps = [(App(repository), public), (Management(repository, running.token), private)]
    try:
        await run(apps, ready, every_moment)
    finally:
        repository.close()


def main(argv: list[str] | None = None) -> int:
    """Run the server in this process; `serving.daemon` starts it so, detached."""
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(StateFiles.of(args.state), args.host, args.port)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
