"""The unpacked archives of a server that was killed are removed when the next server starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import requests
from foreground import serving
from toy_models import make_archive

from continuous_training.core.temporary_files import find_leftovers
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from serving.__main__ import main


def test_a_foreground_server_removes_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_folder = tmp_path / "tmp"
    system_folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(system_folder))
    archive = make_archive(tmp_path)
    with serving(archive) as killed:
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(10)
    (leftover,) = find_leftovers(system_folder)
    with serving(archive) as server:
        assert not leftover.path.exists()
        (used,) = system_folder.iterdir()
        with serving(archive):
            assert used.is_dir()
        response = requests.post(f"{server.url}/predict/toy", json={"x": [1]}, timeout=10)
        assert response.json()["y"] == [2.0]
    assert list(system_folder.iterdir()) == []


def test_the_command_start_removes_what_a_killed_background_server_left(
    state: Path, endpoint: ServerClient, tmp_path: Path
) -> None:
    toy = make_archive(tmp_path)
    endpoint.load("toy", toy.path, toy.digest)
    assert find_leftovers(state) == []
    daemon._signal(endpoint.running.pid, signal.SIGKILL)
    assert daemon._wait_until_ended(daemon.StateFiles.of(state), endpoint.running.pid, 10)
    (leftover,) = find_leftovers(state)
    assert leftover.size > 0
    assert main(["start", "--state", str(state)]) == 0
    assert not leftover.path.exists()
    assert find_leftovers(state) == []
