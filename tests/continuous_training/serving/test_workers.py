"""Several processes on one port: one server to its callers, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from foreground import ROOT, Server, serving
from test_model_store import stored
from test_observed import metrics, value
from toy_models import make_archive

from continuous_training.adapters.model_store import point
from continuous_training.adapters.object_store import open_store

TWO = ("--workers", "2")


def ask(url: str, x: float = 1) -> requests.Response:
    """Ask over a connection of its own, which either worker may get."""
    return requests.post(f"{url}/predict/toy", json={"x": [x]}, timeout=20)


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in children.split()]


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def counted(server: Server) -> float:
    return value(metrics(server.url), "serving_requests_total", model="toy", route="predict", status="200")


def test_all_of_them_answer_and_any_of_them_tells_what_all_have_counted(tmp_path: Path) -> None:
    toy = make_archive(tmp_path)
    with serving(toy, options=TWO) as server:
        assert len(workers_of(server.process.pid)) == 2
        busy = {pid: processor_time(pid) for pid in workers_of(server.process.pid)}
        for number in range(200):
            answer = ask(server.url, number)
            assert answer.json() == {"scale": 2, "y": [2.0 * number]}
            assert answer.headers["x-model-digest"] == toy.digest
        assert all(processor_time(pid) > before for pid, before in busy.items())
        for _ in range(8):
            assert eventually(lambda: counted(server) == 200)
        found = metrics(server.url)
        labels = {"model": "toy", "version": toy.version, "digest": toy.digest, "phase": "serving"}
        assert value(found, "serving_model", **labels) == 1
        histogram = "serving_request_seconds_bucket"
        assert value(found, histogram, model="toy", route="predict", le="+Inf") == 200
        assert eventually(lambda: value(metrics(server.url), "serving_queue_requests") == 0)


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_one_that_dies_is_replaced_and_what_has_connected_is_answered(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(make_archive(tmp_path), options=TWO, log=log) as server:
        for _ in range(40):
            assert ask(server.url).ok
        assert eventually(lambda: counted(server) == 40)
        time.sleep(1.1)  # each leaves its numbers for the others once a second
        first, second = workers_of(server.process.pid)
        os.kill(first, signal.SIGKILL)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: ask(server.url), range(40)))
        assert all(answer.ok for answer in answers)
        assert eventually(lambda: len(set(workers_of(server.process.pid)) - {first, second}) == 1)
        assert second in workers_of(server.process.pid)
        assert eventually(lambda: counted(server) == 80)
        # What the dead one held is gone; the others' queues are told as they were a second ago.
        assert eventually(lambda: value(metrics(server.url), "serving_queue_requests") == 0)
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["level"] == "warning"
    assert line["message"].endswith("ended (137); a new one takes its place")


def test_a_handler_that_hangs_costs_one_of_them(tmp_path: Path) -> None:
    hanging = make_archive(tmp_path, hangs_on=7)
    with serving(hanging, options=(*TWO, "--stall", "0.5")) as server:
        before = set(workers_of(server.process.pid))
        with pytest.raises(requests.ConnectionError):
            ask(server.url, 7)
        assert eventually(lambda: len(set(workers_of(server.process.pid)) & before) == 1)
        for _ in range(20):
            assert ask(server.url).ok


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with serving(make_archive(tmp_path), options=TWO) as server:
        assert list(temporary.glob("serving-*"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    assert not list(temporary.glob("serving-*"))


def test_none_is_left_when_their_parent_is_killed(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=TWO) as server:
        left = workers_of(server.process.pid)
        server.process.kill()
        server.process.wait(10)
        assert eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in left))


def test_one_that_cannot_begin_ends_all_with_its_words_and_code(tmp_path: Path) -> None:
    wrong = make_archive(tmp_path, wrong=True)
    command = [sys.executable, "-m", "serving", "serve", "--archive", str(wrong.path), "--port", "0", *TWO]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    alone = subprocess.run(command[:-2], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (alone.returncode, "")
    assert done.stderr == alone.stderr
    assert "golden" in done.stderr


def test_an_alias_that_moves_moves_none_of_them(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    first, second = stored(store, tmp_path, 2), stored(store, tmp_path, 3)
    point(store, "toy", first.digest)
    command = [sys.executable, "-m", "serving", "serve", "--port", "0", *TWO]
    command += ["--model-store", str(tmp_path / "store"), "--model", "toy"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split(" at ")[1].partition("/predict")[0]
            point(store, "toy", second.digest)
            before = set(workers_of(server.pid))
            os.kill(min(before), signal.SIGKILL)
            assert eventually(lambda: len(set(workers_of(server.pid)) - before) == 1)
            assert {ask(url).json()["scale"] for _ in range(40)} == {2}
        finally:
            server.terminate()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has one thread")
def test_an_inference_has_the_threads_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    toy, found = make_archive(tmp_path), []
    for threads in ("1", "2"):
        with serving(toy, options=("--threads", threads)) as server:
            found.append(len(list(Path(f"/proc/{server.process.pid}/task").iterdir())))
    # BLAS has made one more.
    assert found[1] == found[0] + 1


@pytest.mark.parametrize("count", ["2", "0"])
def test_a_port_is_not_shared_with_another_server(tmp_path: Path, count: str) -> None:
    toy = make_archive(tmp_path)
    with serving(toy, options=TWO) as server:
        command = [sys.executable, "-m", "serving", "serve", "--archive", str(toy.path)]
        command += ["--port", str(server.port), "--workers", count]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"port {server.port} of 127.0.0.1 is taken" in done.stderr
    with socket.create_server(("127.0.0.1", server.port), reuse_port=False):
        pass
