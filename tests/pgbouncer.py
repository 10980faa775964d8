"""PgBouncer, a connection pool in front of a PostgreSQL server, with its default settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .fakes import free_port
from .postgres import PASSWORD, USER, Server
from .s3 import is_listening


def program() -> str | None:
    """Return the path of PgBouncer, or None. Debian installs it for administrators only."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def serve(server: Server, pool_mode: str = "") -> Iterator[int]:
    """Run PgBouncer in front of the server, and yield its port. An empty `pool_mode` is the default."""
    # PgBouncer does not run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    port = free_port()
    mode = f"pool_mode = {pool_mode}\n" if pool_mode else ""
    (folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
    (folder / "settings.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\n{mode}"
    )
    for path in (folder, *folder.iterdir()):
        if user:
            shutil.chown(path, user)
    log = folder / "log"
    try:
        with log.open("wb") as output:
            command = [str(program()), str(folder / "settings.ini")]
            pool = subprocess.Popen(command, user=user, cwd=folder, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 30
            while not is_listening("127.0.0.1", port):
                if pool.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PgBouncer did not start: {log.read_text()}")
                time.sleep(0.02)
            yield port
        finally:
            pool.kill()
            pool.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
