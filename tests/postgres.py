"""A real PostgreSQL server in a folder of its own, started for the while; it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .fakes import free_port


def programs() -> Path | None:
    """Return the folder with initdb and pg_ctl, or None when PostgreSQL is not installed."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).parent if found else debian[-1].parent if debian else None


@contextmanager
def serve() -> Iterator[str]:
    """Serve a new database cluster; yields the URI of its database `postgres`.

    The URI names the driver: which one SQLAlchemy takes by itself depends on its version.
    """
    user = _user()
    # Outside of pytest's folders, which nobody but their owner may enter.
    data = Path(tempfile.mkdtemp(prefix="postgres-"))
    port, bin_folder = free_port(), programs()
    assert bin_folder
    try:
        if user:
            os.chown(data, user.pw_uid, user.pw_gid)

        def call(program: str, *arguments: str) -> None:
            command = [str(bin_folder / program), "-D", str(data / "cluster"), *arguments]
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                cwd=data,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

        call("initdb", "-U", "mlflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        call("pg_ctl", "-w", "-l", str(data / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    """Return whom to run as: somebody else when this is root."""
    if os.geteuid():
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
