"""A real PostgreSQL server in a folder of its own: `initdb` and `postgres` of the system's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .fakes import free_port

USER, PASSWORD = "owner", "the-owners-password"


@dataclass(frozen=True)
class Server:
    """Where a server listens; USER is its superuser and has to say PASSWORD."""

    port: int

    def url(self, database: str = "postgres") -> str:
        """The address of a database, without user and password."""
        return f"postgresql://127.0.0.1:{self.port}/{database}"


def program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs, or None; Debian keeps them off the PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(packaged[-1]) if packaged else shutil.which(name)


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server on 127.0.0.1 for the while; nothing of it is left."""
    # PostgreSQL refuses root, and its package has made a user of its own.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        data, port = folder / "data", free_port()
        made = [program("initdb"), "-D", data, "-U", USER, "-A", "scram-sha-256"]
        made += ["--pwfile", folder / "password", "--no-sync", "--locale=C", "-E", "UTF8"]
        subprocess.run(list(map(str, made)), user=user, cwd=folder, check=True, capture_output=True)
        command = [program("postgres"), "-D", data, "-p", port, "-k", folder, "-h", "127.0.0.1", "-F"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(list(map(str, command)), user=user, cwd=folder, stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "log")
            yield Server(port)
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    ready = [str(program("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"postgres does not serve: {log.read_text()}")
        time.sleep(0.02)
