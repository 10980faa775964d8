"""Commands work with a running server that the earlier version started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .earlier_version import (
    DIGIT,
    ROOT,
    clean_environment,
    copy_state,
    predict,
    read_document,
    run_json,
    run_module,
)

RUNNING = read_document("running.json")
"""The files in `serving/` of a state directory with a running server, and the command line of the server."""


@contextmanager
def start_server(state: Path, code: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a background server with the recorded command line in the folder of its code."""
    recorded = [state if part == "STATE" else part for part in RUNNING["command"]]
    process = subprocess.Popen([sys.executable, *recorded], cwd=code, env=env, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (state / "serving" / "server.json").exists():
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server is not ready"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def running_server(
    local_runs: Path, earlier_server: Path, tmp_path: Path
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A state directory with a running server of the earlier version, and the process of the server."""
    state = copy_state(local_runs / "state", tmp_path / "state")
    with start_server(state, earlier_server, clean_environment(PYTHONPATH=str(earlier_server))) as process:
        yield state, process


def test_commands_use_and_stop_the_earlier_server(
    running_server: tuple[Path, subprocess.Popen[bytes]], local_runs: Path
) -> None:
    state, process = running_server
    written = json.loads((state / "serving" / "server.json").read_text())
    assert set(written) == set(RUNNING["files"]["server.json"])

    status = run_json("serving", "status", "--state", state)
    assert (status["running"], status["pid"]) == (True, process.pid)
    assert "already serving" in run_module("serving", "start", "--state", state).stdout

    env = clean_environment(PYTHONPATH=str(local_runs / "ours"))
    result = run_json("pipelines.run", "--state", state, "--workload", "wine", env=env)
    assert result["verdict"] == "unchanged"
    assert result["endpoint"] == f"{status['url']}/predict/wine"

    # A rollback uses the management port of the earlier server to load, test and confirm a version.
    rollback = run_json("pipelines.rollback", "--state", state, "--workload", "digits")
    assert (rollback["verdict"], rollback["endpoint"]) == ("rolled back", f"{status['url']}/predict/digits")
    response = predict(status["url"], "digits", DIGIT)
    assert response.headers["x-model-digest"] == rollback["to"]["digest"]

    assert process.poll() is None
    run_module("serving", "stop", "--state", state)
    assert process.wait(10) == 0
    assert run_json("serving", "status", "--state", state, codes=(75,)) == {"running": False}
    # The port stays the same, so that clients can use the same URL.
    assert int((state / "serving" / "port").read_text()) == int(status["url"].rpartition(":")[2])


def test_a_server_starts_with_the_recorded_command_line(state: Path) -> None:
    """A server that hangs replaces itself with a process that has the same command line but new code."""
    with start_server(state, ROOT, clean_environment()) as process:
        status = run_json("serving", "status", "--state", state)
        assert status["pid"] == process.pid
        assert predict(status["url"], "wine").json() == {"growers": [0]}
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0


def test_files_of_a_killed_server_are_not_a_running_server(state: Path) -> None:
    """The lock is free, although another process has the process id in the lock file."""
    write_files(state, RUNNING["files"] | {"server.lock": str(os.getpid())})
    assert run_json("serving", "status", "--state", state, codes=(75,)) == {"running": False}
    assert "no server runs" in run_module("serving", "stop", "--state", state).stdout
    write_files(state, RUNNING["files"] | {"server.lock": str(os.getpid())})
    run_module("serving", "start", "--state", state)
    assert run_json("serving", "status", "--state", state)["pid"] != os.getpid()


def write_files(state: Path, files: dict[str, Any]) -> None:
    """Write the files of a running server into a state directory."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (state / "serving" / name).write_text(text)
