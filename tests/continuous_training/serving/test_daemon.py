"""The background server: start, find, kill, restart and stop."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from toy_models import make_archive

from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.file_lock import is_held
from continuous_training.serving.process import daemon, state_files
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.state_files import RunningServer

ROOT = Path(__file__).parents[3]


def kill(running: RunningServer) -> None:
    os.kill(running.pid, signal.SIGKILL)
    while daemon._children[running.pid].poll() is None:
        time.sleep(0.01)


def test_server_json_is_readable_by_its_owner_only(state: Path) -> None:
    messages: list[str] = []
    running = daemon.start(state, 0, report=messages.append)
    assert messages == [f"serving at {running.url} (pid {running.pid})"]
    path = state / "serving/server.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) >= {"pid", "port", "management_port", "token", "started"}
    assert running.token not in repr(running)
    assert daemon.status(state) == running
    assert requests.get(f"{running.url}/v2/health/ready", timeout=5).status_code == 200
    with pytest.raises(OSError, match="refused"):
        # 127.0.0.2 would reach a server that listens on all addresses.
        socket.create_connection(("127.0.0.2", running.management_port), 1)


def test_second_start_returns_the_running_server(state: Path, running: RunningServer) -> None:
    messages: list[str] = []
    assert daemon.start(state, report=messages.append) == running
    assert messages == [f"already serving at {running.url} (pid {running.pid})"]
    with pytest.raises(UserError, match=f"already runs on port {running.port}"):
        daemon.start(state, running.port + 1)


def test_stop_ends_the_server_and_removes_server_json(state: Path, running: RunningServer) -> None:
    assert daemon.stop(state)
    assert not daemon.stop(state)
    assert daemon.status(state) is None
    assert not is_held(state / "serving/server.lock")
    assert not (state / "serving/server.json").exists()
    with pytest.raises(TransientError, match="does not answer"):
        ServerClient(running).models()
    assert daemon.status(state / "never") is None


def test_restart_after_a_kill_restores_confirmed_versions_on_the_same_port(
    state: Path, endpoint: ServerClient, tmp_path: Path, restart: Callable[[], ServerClient]
) -> None:
    first, second, third = (make_archive(tmp_path, scale=scale) for scale in (2, 3, 4))
    endpoint.load("toy", first.path, first.digest)
    endpoint.load("toy", second.path, second.digest, 30)
    endpoint.confirm("toy", second.digest)
    endpoint.load("toy", third.path, third.digest, 30)
    kill(endpoint.running)
    assert daemon.status(state) is None, "the files of a killed server must not count as a running server"
    restarted = restart()
    assert restarted.running.port == endpoint.running.port
    assert restarted.running.token != endpoint.running.token
    assert restarted.served("toy") == second.digest
    assert restarted.predict("toy", {"x": [1]}, second.digest)["scale"] == 3
    (work_folder,) = (state / "serving").glob(".work-*.tmp")
    assert len(list(work_folder.iterdir())) == 1


def test_stale_server_json_does_not_affect_the_process_that_it_names(state: Path) -> None:
    folder = state / "serving"
    folder.mkdir(parents=True)
    unrelated = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    stale = {"pid": unrelated.pid, "port": 1, "management_port": 2, "token": "t", "started": "s"}
    try:
        for content in (json.dumps(stale), "{", '{"pid": 1}'):
            (folder / "server.json").write_text(content)
            assert daemon.status(state) is None
            assert not daemon.stop(state)
            (folder / "server.json").write_text(content)
            assert daemon.start(state, 0).pid != unrelated.pid
            daemon.stop(state)
        assert unrelated.poll() is None
    finally:
        unrelated.kill()
        unrelated.wait()


@pytest.mark.parametrize("damage", ["", '{"pid": 1', "[1]", '{"pid": 1}', "\x00" * 20])
def test_a_running_server_repairs_its_files(
    state: Path, running: RunningServer, tmp_path: Path, damage: str
) -> None:
    archive = make_archive(tmp_path)
    ServerClient(running).load("toy", archive.path, archive.digest)
    folder = state / "serving"
    for name in ("server.json", "port", "models.json"):
        path = folder / name
        original = path.read_text()
        path.write_text(damage)
        assert daemon.status(state) == running
        end = time.monotonic() + 10
        while path.read_text() != original:
            assert time.monotonic() < end, name
            time.sleep(0.05)
    assert (folder / "server.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_server_json_that_nothing_repairs_names_the_process_to_kill(
    state: Path, running: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_files, "_REPAIR_SECONDS", 0)
    os.kill(running.pid, signal.SIGSTOP)
    path = state / "serving/server.json"
    original = path.read_text()
    try:
        path.write_text("{")
        for command in (daemon.status, daemon.start, daemon.stop):
            with pytest.raises(UserError, match=rf"server\.json is damaged .*\(kill {running.pid}\)"):
                command(state)
    finally:
        path.write_text(original)
        os.kill(running.pid, signal.SIGCONT)
    assert daemon.status(state) == running


def test_requested_port_that_is_taken_is_an_error_and_default_port_is_replaced(
    state: Path, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is taken") as caught:
            daemon.start(state, port)
        assert "\n" not in str(caught.value)
        (state / "serving/port").write_text(str(port))
        messages: list[str] = []
        running = daemon.start(state, report=messages.append)
        assert running.port != port
        assert messages[0] == f"port {port} is taken, so port {running.port} is used"


def test_concurrent_starts_create_one_server(state: Path) -> None:
    command = [sys.executable, "-m", "serving", "start", "--state", str(state), "--port", "0"]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    running = daemon.status(state)
    assert running is not None
    assert all(f"{running.url} (pid {running.pid})" in text for text in outputs)
    assert sorted(text.split()[0] for text in outputs) == ["already", "already", "serving"]


def test_server_started_without_the_daemon_does_not_replace_the_running_server(
    state: Path, running: RunningServer
) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "continuous_training.serving.process.background", "--state", str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 75
    assert "another server already runs in" in second.stderr
    assert daemon.status(state) == running


def test_start_error_contains_the_end_of_the_log(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvloop.py").write_text("raise FileExistsError('a damaged installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Exception, match=r"(?s)ended during its start.*server\.log.*FileExistsError"):
        daemon.start(state, 0)
    assert daemon.status(state) is None


def test_restart_reports_missing_and_damaged_archives_and_serves_the_others(
    state: Path, endpoint: ServerClient, tmp_path: Path, restart: Callable[[], ServerClient]
) -> None:
    toy, missing, damaged = (make_archive(tmp_path, name=name) for name in ("toy", "missing", "damaged"))
    for archive in (toy, missing, damaged):
        endpoint.load(archive.name, archive.path, archive.digest)
    daemon.stop(state)
    missing.path.unlink()
    damaged.path.write_bytes(damaged.path.read_bytes()[:-100])
    restarted = restart()
    assert restarted.predict("toy", {"x": [1]})["scale"] == 2
    statuses = {status.name: status for status in restarted.models()}
    assert {name: status.state for name, status in statuses.items()} == {
        "toy": "READY",
        "missing": "UNAVAILABLE",
        "damaged": "UNAVAILABLE",
    }
    assert str(missing.path) in statuses["missing"].reason
    assert "sha256" in statuses["damaged"].reason
    assert restarted.served("missing") is None
    ready = requests.get(f"{restarted.running.url}/v2/health/ready", timeout=5)
    assert ready.status_code == 503
    assert set(ready.json()["unavailable"]) == {"missing", "damaged"}
    with pytest.raises(TransientError, match=str(missing.path)):
        restarted.predict("missing", {"x": [1]})
    restarted.unload("missing")
    restarted.load(
        "damaged", replacement := make_archive(tmp_path, name="damaged", scale=5).path, digest_of(replacement)
    )
    assert requests.get(f"{restarted.running.url}/v2/health/ready", timeout=5).status_code == 200


def digest_of(path: Path) -> str:
    from continuous_training.core.digest import digest_file

    return digest_file(path)


def test_unreadable_models_json_is_renamed(state: Path) -> None:
    folder = state / "serving"
    folder.mkdir(parents=True)
    for content in ("{", "[]", '{"toy": 1}'):
        (folder / "models.json").write_text(content)
        assert ServerClient(daemon.start(state, 0)).models() == []
        assert (folder / "models.unreadable").read_text() == content
        daemon.stop(state)


def test_stop_waits_for_requests_in_progress(state: Path, endpoint: ServerClient, tmp_path: Path) -> None:
    import threading

    slow = make_archive(tmp_path, slow=0.6)
    endpoint.load("toy", slow.path, slow.digest)
    responses: list[object] = []
    request = threading.Thread(target=lambda: responses.append(endpoint.predict("toy", {"x": [1]})))
    request.start()
    time.sleep(0.3)
    assert daemon.stop(state)
    request.join()
    assert responses == [{"scale": 2, "y": [2.0]}]


def test_server_does_not_inherit_the_session_and_pipes_of_its_starter(state: Path) -> None:
    # check_output returns when all writers have closed the pipe: it times out if the server keeps it open.
    command = [sys.executable, "-m", "serving", "start", "--state", str(state), "--port", "0"]
    subprocess.check_output(command, cwd=ROOT, stderr=subprocess.STDOUT, timeout=20)
    running = daemon.status(state)
    assert running is not None
    assert os.getsid(running.pid) == running.pid
    assert str(Path(f"/proc/{running.pid}/fd/0").readlink()) == os.devnull
    assert Path(f"/proc/{running.pid}/fd/1").readlink() == state / "serving/server.log"


def test_server_ends_when_its_state_directory_is_deleted(tmp_path: Path) -> None:
    running = daemon.start(tmp_path / "state")
    shutil.rmtree(tmp_path / "state")
    deadline = time.monotonic() + 20
    while Path(f"/proc/{running.pid}").exists() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(running.pid, os.WNOHANG)
        time.sleep(0.05)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0, "its port is free again"
