"""The registry of one machine: starts when it is needed, and leaves no server behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters import local_registry
from adapters import registry as module
from adapters.errors import TransientError, UserError
from adapters.local_registry import LocalRegistry, open_registry
from adapters.registry import Registry

ROOT = Path(__file__).parents[2]

PARENT = """
import sys, time
from pathlib import Path
from adapters.local_registry import LocalRegistry
from adapters.registry import Registry

local = LocalRegistry(Path(sys.argv[1]))
local.start()
assert Registry(local.uri).champion("any") is None
print(local.process.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_the_server_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        server = int(parent.stdout.readline())
    try:
        assert alive(server)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 30
        while alive(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(server)
    finally:
        if alive(server):
            os.kill(server, signal.SIGKILL)


def test_what_is_kept_is_there_again_and_callers_wait_for_a_server_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_registry("sqlite:///kept/mlflow.db") as registry:
        run = registry.run("any", "run-1")
        registry.log_file(run, "a.txt", b"a")
    assert {"artifacts", "mlflow.db", "server.log"} <= {p.name for p in (tmp_path / "kept").iterdir()}
    local = LocalRegistry(tmp_path / "kept")
    try:
        with socket.create_connection(("127.0.0.1", int(local.uri.rpartition(":")[2])), timeout=60) as early:
            early.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            local.start()
            local.start()
            assert early.recv(1000).startswith(b"HTTP/1.1 200")
        assert Registry(local.uri).run("any", "run-1") == run
    finally:
        local.close()
    local.close()


def test_a_registry_that_nobody_needs_starts_nothing(tmp_path: Path) -> None:
    LocalRegistry(tmp_path / "mlflow").close()
    assert not (tmp_path / "mlflow").exists()


def test_a_server_that_dies_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    monkeypatch.setattr(local_registry.sys, "executable", "false")
    with (
        open_registry(f"sqlite:///{tmp_path}/mlflow.db") as registry,
        pytest.raises(TransientError, match=r"is it up\?"),
    ):
        registry.champion("any")


def test_a_damaged_database_is_told_with_the_servers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with open_registry(f"sqlite:///{tmp_path}/mlflow.db") as registry, pytest.raises(TransientError):
        registry.champion("any")
    assert "not a database" in (tmp_path / "server.log").read_text()


def test_a_database_of_another_name_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"a local registry is FOLDER/mlflow\.db"),
        open_registry(f"sqlite:///{tmp_path}/other.db"),
    ):
        pass
