"""The life of a server: started once, found again, killed, restarted, stopped."""

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
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import Endpoint
from continuous_training.serving.process.server_state import Running

ROOT = Path(__file__).parents[3]


def kill(running: Running) -> None:
    os.kill(running.pid, signal.SIGKILL)
    while daemon._children[running.pid].poll() is None:
        time.sleep(0.01)


def test_start_tells_only_its_user_where_the_server_is(state: Path) -> None:
    said: list[str] = []
    running = daemon.start(state, 0, say=said.append)
    assert said == [f"serving at {running.url} (pid {running.pid})"]
    path = state / "serving/server.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) >= {"pid", "port", "management_port", "token", "started"}
    assert running.token not in repr(running)
    assert daemon.status(state) == running
    assert requests.get(f"{running.url}/v2/health/ready", timeout=5).status_code == 200
    with pytest.raises(OSError, match="refused"):
        # Management listens on one address alone, where a server for all would answer this too.
        socket.create_connection(("127.0.0.2", running.management_port), 1)


def test_a_second_start_finds_the_first(state: Path, running: Running) -> None:
    said: list[str] = []
    assert daemon.start(state, say=said.append) == running
    assert said == [f"already serving at {running.url} (pid {running.pid})"]
    with pytest.raises(UserError, match=f"runs already, on port {running.port}"):
        daemon.start(state, running.port + 1)


def test_stop_ends_it_and_leaves_nothing_but_its_memory(state: Path, running: Running) -> None:
    assert daemon.stop(state)
    assert not daemon.stop(state)
    assert daemon.status(state) is None
    assert not is_held(state / "serving/server.lock")
    assert not (state / "serving/server.json").exists()
    with pytest.raises(TransientError, match="does not answer"):
        Endpoint(running).models()
    assert daemon.status(state / "never") is None


def test_confirmed_versions_survive_a_kill_on_the_same_port_and_others_do_not(
    state: Path, endpoint: Endpoint, tmp_path: Path, restart: Callable[[], Endpoint]
) -> None:
    first, second, third = (make_archive(tmp_path, scale=scale) for scale in (2, 3, 4))
    endpoint.load("toy", first.path, first.digest)
    endpoint.load("toy", second.path, second.digest, 30)
    endpoint.confirm("toy", second.digest)
    endpoint.load("toy", third.path, third.digest, 30)
    kill(endpoint.running)
    assert daemon.status(state) is None, "what the killed server left behind was believed"
    again = restart()
    assert again.running.port == endpoint.running.port
    assert again.running.token != endpoint.running.token
    assert again.served("toy") == second.digest
    assert again.predict("toy", {"x": [1]}, second.digest)["scale"] == 3
    assert len(list((state / "serving/work").iterdir())) == 1


def test_a_stale_server_json_of_another_process_harms_nobody(state: Path) -> None:
    folder = state / "serving"
    folder.mkdir(parents=True)
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    stale = {"pid": innocent.pid, "port": 1, "management_port": 2, "token": "t", "started": "s"}
    try:
        for content in (json.dumps(stale), "{", '{"pid": 1}'):
            (folder / "server.json").write_text(content)
            assert daemon.status(state) is None
            assert not daemon.stop(state)
            (folder / "server.json").write_text(content)
            assert daemon.start(state, 0).pid != innocent.pid
            daemon.stop(state)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("damage", ["", '{"pid": 1', "[1]", '{"pid": 1}', "\x00" * 20])
def test_a_damaged_server_json_is_told_with_the_way_out(state: Path, running: Running, damage: str) -> None:
    path = state / "serving/server.json"
    whole = path.read_text()
    path.write_text(damage)
    for act in (daemon.status, daemon.start, daemon.stop):
        with pytest.raises(UserError, match=rf"server\.json is damaged .*\(kill {running.pid}\)"):
            act(state)
    path.write_text(whole)
    assert daemon.status(state) == running


def test_a_taken_port_is_refused_when_asked_for_and_avoided_when_not(state: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is taken") as refused:
            daemon.start(state, port)
        assert "\n" not in str(refused.value)
        (state / "serving/port").write_text(str(port))
        said: list[str] = []
        running = daemon.start(state, say=said.append)
        assert running.port != port
        assert said[0] == f"port {port} is taken, so port {running.port} is used"


def test_two_starts_at_once_end_with_one_server(state: Path) -> None:
    command = [sys.executable, "-m", "serving", "start", "--state", str(state), "--port", "0"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=30)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0, 0]
    running = daemon.status(state)
    assert running is not None
    assert all(f"{running.url} (pid {running.pid})" in text for text in said)
    assert sorted(text.split()[0] for text in said) == ["already", "already", "serving"]


def test_a_server_started_past_the_daemon_leaves_the_first_one_alone(state: Path, running: Running) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "continuous_training.serving.process.background", "--state", str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 75
    assert "another server lives in" in second.stderr
    assert daemon.status(state) == running


def test_a_server_that_cannot_start_shows_the_end_of_its_log(state: Path) -> None:
    (state / "serving").mkdir(parents=True)
    (state / "serving/work").write_text("in the way of the folder")
    with pytest.raises(Exception, match=r"(?s)ended at once.*server\.log.*FileExistsError"):
        daemon.start(state, 0)
    assert daemon.status(state) is None


def test_an_archive_that_is_gone_at_restart_is_told_and_the_others_are_served(
    state: Path, endpoint: Endpoint, tmp_path: Path, restart: Callable[[], Endpoint]
) -> None:
    toy, gone, broken = (make_archive(tmp_path, name=name) for name in ("toy", "gone", "broken"))
    for archive in (toy, gone, broken):
        endpoint.load(archive.name, archive.path, archive.digest)
    daemon.stop(state)
    gone.path.unlink()
    broken.path.write_bytes(broken.path.read_bytes()[:-100])
    again = restart()
    assert again.predict("toy", {"x": [1]})["scale"] == 2
    rows = {row["name"]: row for row in again.models()}
    assert "there is no archive at" in rows["gone"]["reason"]
    assert "its sha256 is" in rows["broken"]["reason"]
    assert again.served("gone") is None
    ready = requests.get(f"{again.running.url}/v2/health/ready", timeout=5)
    assert ready.status_code == 503
    assert set(ready.json()["unavailable"]) == {"gone", "broken"}
    with pytest.raises(TransientError, match="'gone' is not available: there is no archive"):
        again.predict("gone", {"x": [1]})
    again.unload("gone")
    again.load(
        "broken", toy_again := make_archive(tmp_path, name="broken", scale=5).path, digest_of(toy_again)
    )
    assert requests.get(f"{again.running.url}/v2/health/ready", timeout=5).status_code == 200


def digest_of(path: Path) -> str:
    from continuous_training.core.digest import digest_file

    return digest_file(path)


def test_a_models_json_that_cannot_be_read_is_kept_aside(state: Path) -> None:
    folder = state / "serving"
    folder.mkdir(parents=True)
    for content in ("{", "[]", '{"toy": 1}'):
        (folder / "models.json").write_text(content)
        assert Endpoint(daemon.start(state, 0)).models() == []
        assert (folder / "models.unreadable").read_text() == content
        daemon.stop(state)


def test_a_request_under_way_is_answered_before_the_server_ends(
    state: Path, endpoint: Endpoint, tmp_path: Path
) -> None:
    import threading

    slow = make_archive(tmp_path, slow=0.6)
    endpoint.load("toy", slow.path, slow.digest)
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(endpoint.predict("toy", {"x": [1]})))
    asking.start()
    time.sleep(0.3)
    assert daemon.stop(state)
    asking.join()
    assert answers == [{"scale": 2, "y": [2.0]}]


def test_the_server_outlives_the_shell_that_started_it_and_holds_none_of_its_pipes(state: Path) -> None:
    # check_output returns when the pipe's last writer is gone: a server that held it would hang this.
    command = [sys.executable, "-m", "serving", "start", "--state", str(state), "--port", "0"]
    subprocess.check_output(command, cwd=ROOT, stderr=subprocess.STDOUT, timeout=20)
    running = daemon.status(state)
    assert running is not None
    assert os.getsid(running.pid) == running.pid
    assert str(Path(f"/proc/{running.pid}/fd/0").readlink()) == os.devnull
    assert Path(f"/proc/{running.pid}/fd/1").readlink() == state / "serving/server.log"


def test_a_server_ends_with_its_state_folder(tmp_path: Path) -> None:
    running = daemon.start(tmp_path / "state")
    shutil.rmtree(tmp_path / "state")
    deadline = time.monotonic() + 20
    while Path(f"/proc/{running.pid}").exists() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(running.pid, os.WNOHANG)
        time.sleep(0.05)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0, "its port is free again"
