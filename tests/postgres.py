"""A PostgreSQL server in a temporary folder: `initdb` and `postgres` from the system packages."""

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
    """The port of a server, and the folder of its Unix socket. USER is its superuser, with PASSWORD."""

    port: int
    folder: Path

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, without user and password."""
        return f"postgresql://127.0.0.1:{self.port}/{database}"


def program(name: str) -> str | None:
    """Return the path of a PostgreSQL program, or None. Debian does not install them on the PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(candidates[-1]) if candidates else shutil.which(name)


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server on 127.0.0.1 in the `with` block, and delete its files afterwards."""
    # PostgreSQL does not run as root, and its package creates the user postgres.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        data, port = folder / "data", free_port()
        initdb = [program("initdb"), "-D", data, "-U", USER, "-A", "scram-sha-256"]
        initdb += ["--pwfile", folder / "password", "--no-sync", "--locale=C", "-E", "UTF8"]
        subprocess.run(list(map(str, initdb)), user=user, cwd=folder, check=True, capture_output=True)
        command = [program("postgres"), "-D", data, "-p", port, "-k", folder, "-h", "127.0.0.1", "-F"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(list(map(str, command)), user=user, cwd=folder, stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "log")
            yield Server(port, folder)
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
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.02)
