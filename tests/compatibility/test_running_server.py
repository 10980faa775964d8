"""The commands work with a server that the former version started and that still runs."""

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

from .former import DIGIT, ROOT, ask, copy, document, environment, json_of, python

RUNNING = document("running.json")
"""The files in `serving/` of a state directory whose server runs, and the server's command line."""


@contextmanager
def server(state: Path, code: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a background server with the recorded command line in the folder of its code."""
    recorded = [state if part == "STATE" else part for part in RUNNING["command"]]
    process = subprocess.Popen([sys.executable, *recorded], cwd=code, env=env, start_new_session=True)
    try:
        end = time.monotonic() + 30
        while not (state / "serving" / "server.json").exists():
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < end, "the server is not ready"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def running(
    local: Path, former_server: Path, tmp_path: Path
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A state directory whose server is a process of the former version's code."""
    state = copy(local / "state", tmp_path / "state")
    with server(state, former_server, environment(PYTHONPATH=str(former_server))) as process:
        yield state, process


def test_the_former_server_is_used_and_stopped(
    running: tuple[Path, subprocess.Popen[bytes]], local: Path
) -> None:
    state, process = running
    written = json.loads((state / "serving" / "server.json").read_text())
    assert set(written) == set(RUNNING["files"]["server.json"])

    status = json_of("serving", "status", "--state", state)
    assert (status["running"], status["pid"]) == (True, process.pid)
    assert "already serving" in python("serving", "start", "--state", state).stdout

    env = environment(PYTHONPATH=str(local / "ours"))
    result = json_of("pipelines.run", "--state", state, "--workload", "wine", env=env)
    assert result["verdict"] == "unchanged"
    assert result["endpoint"] == f"{status['url']}/predict/wine"

    # A rollback loads, confirms and asks a version over the management port of the former server.
    done = json_of("pipelines.rollback", "--state", state, "--workload", "digits")
    assert (done["verdict"], done["endpoint"]) == ("rolled back", f"{status['url']}/predict/digits")
    served = ask(status["url"], "digits", DIGIT)
    assert served.headers["x-model-digest"] == done["to"]["digest"]

    assert process.poll() is None
    python("serving", "stop", "--state", state)
    assert process.wait(10) == 0
    assert json_of("serving", "status", "--state", state, codes=(75,)) == {"running": False}
    # The endpoint stays where callers know it.
    assert int((state / "serving" / "port").read_text()) == int(status["url"].rpartition(":")[2])


def test_a_server_starts_with_the_command_line_of_the_former_one(state: Path) -> None:
    """A server that hangs replaces itself by a process with its own command line: in the new code."""
    with server(state, ROOT, environment()) as process:
        status = json_of("serving", "status", "--state", state)
        assert status["pid"] == process.pid
        assert ask(status["url"], "wine").json() == {"growers": [0]}
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0


def test_what_a_killed_server_left_is_no_running_server(state: Path) -> None:
    """Its lock is free, whichever process has its process id now."""
    write(state, RUNNING["files"] | {"server.lock": str(os.getpid())})
    assert json_of("serving", "status", "--state", state, codes=(75,)) == {"running": False}
    assert "no server runs" in python("serving", "stop", "--state", state).stdout
    write(state, RUNNING["files"] | {"server.lock": str(os.getpid())})
    python("serving", "start", "--state", state)
    assert json_of("serving", "status", "--state", state)["pid"] != os.getpid()


def write(state: Path, files: dict[str, Any]) -> None:
    """Write the files of a running server into a state directory."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (state / "serving" / name).write_text(text)
