"""Several worker processes on one port."""

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
from prometheus_samples import scrape, value
from toy_models import make_archive, upload_archive

from continuous_training.adapters.model_store import set_alias
from continuous_training.adapters.object_store import open_store

TWO_WORKERS = ("--workers", "2")


def predict(url: str, x: float = 1) -> requests.Response:
    """Send a request over a new connection, which any worker may accept."""
    return requests.post(f"{url}/predict/toy", json={"x": [x]}, timeout=20)


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in children.split()]


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return result


def request_count(server: Server) -> float:
    return value(scrape(server.url), "serving_requests_total", model="toy", route="predict", status="200")


def test_all_workers_serve_and_each_reports_the_metrics_of_all(tmp_path: Path) -> None:
    toy = make_archive(tmp_path)
    with serving(toy, options=TWO_WORKERS) as server:
        assert len(workers_of(server.process.pid)) == 2
        before = {pid: processor_time(pid) for pid in workers_of(server.process.pid)}
        for number in range(200):
            response = predict(server.url, number)
            assert response.json() == {"scale": 2, "y": [2.0 * number]}
            assert response.headers["x-model-digest"] == toy.digest
        assert all(processor_time(pid) > time_before for pid, time_before in before.items())
        for _ in range(8):
            assert eventually(lambda: request_count(server) == 200)
        samples = scrape(server.url)
        labels = {"model": "toy", "version": toy.version, "digest": toy.digest, "phase": "serving"}
        assert value(samples, "serving_model", **labels) == 1
        histogram = "serving_request_seconds_bucket"
        assert value(samples, histogram, model="toy", route="predict", le="+Inf") == 200
        assert eventually(lambda: value(scrape(server.url), "serving_queue_requests") == 0)


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_killed_worker_is_replaced_and_its_connections_are_served(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(make_archive(tmp_path), options=TWO_WORKERS, log=log) as server:
        for _ in range(40):
            assert predict(server.url).ok
        assert eventually(lambda: request_count(server) == 40)
        time.sleep(1.1)  # Workers publish their metrics once per second.
        first, second = workers_of(server.process.pid)
        os.kill(first, signal.SIGKILL)
        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(lambda _: predict(server.url), range(40)))
        assert all(response.ok for response in responses)
        assert eventually(lambda: len(set(workers_of(server.process.pid)) - {first, second}) == 1)
        assert second in workers_of(server.process.pid)
        assert eventually(lambda: request_count(server) == 80)
        # The gauges of the killed worker do not count. Those of the others are up to a second old.
        assert eventually(lambda: value(scrape(server.url), "serving_queue_requests") == 0)
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["level"] == "warning"
    assert line["message"].endswith("ended with exit code 137 and is replaced")


def test_hung_handler_ends_one_worker(tmp_path: Path) -> None:
    hanging = make_archive(tmp_path, hangs_on=7)
    with serving(hanging, options=(*TWO_WORKERS, "--stall", "0.5")) as server:
        before = set(workers_of(server.process.pid))
        with pytest.raises(requests.ConnectionError):
            predict(server.url, 7)
        assert eventually(lambda: len(set(workers_of(server.process.pid)) & before) == 1)
        for _ in range(20):
            assert predict(server.url).ok


def test_worker_that_is_stopped_is_replaced_and_its_connections_are_served(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(make_archive(tmp_path), options=(*TWO_WORKERS, "--stall", "1"), log=log) as server:
        first, second = workers_of(server.process.pid)
        os.kill(first, signal.SIGSTOP)
        start = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(lambda _: predict(server.url), range(40)))
        assert all(response.ok for response in responses)
        assert time.monotonic() - start > 0.9
        assert set(workers_of(server.process.pid)) & {first, second} == {second}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["level"] for line in lines] == ["critical", "warning"]
    assert "has been stopped for more than 1 s" in lines[0]["message"]


def test_worker_that_is_stopped_for_a_moment_is_kept(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=(*TWO_WORKERS, "--stall", "2")) as server:
        before = workers_of(server.process.pid)
        for _ in range(2):
            os.kill(before[0], signal.SIGSTOP)
            time.sleep(1.2)
            os.kill(before[0], signal.SIGCONT)
            time.sleep(0.2)
        assert workers_of(server.process.pid) == before
        assert predict(server.url).ok


def test_server_with_a_stopped_worker_ends_on_sigterm(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=TWO_WORKERS) as server:
        os.kill(workers_of(server.process.pid)[1], signal.SIGSTOP)
        server.process.terminate()
        assert server.process.wait(15) == 0


def test_temporary_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with serving(make_archive(tmp_path), options=TWO_WORKERS) as server:
        assert list(temporary.glob(".serving-*"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    assert not list(temporary.iterdir())


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=TWO_WORKERS) as server:
        pids = workers_of(server.process.pid)
        server.process.kill()
        server.process.wait(10)
        assert eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids))


def test_error_in_a_starting_worker_is_the_error_of_the_server(tmp_path: Path) -> None:
    failing = make_archive(tmp_path, wrong=True)
    command = [
        sys.executable,
        "-m",
        "serving",
        "serve",
        "--archive",
        str(failing.path),
        "--port",
        "0",
        *TWO_WORKERS,
    ]
    with_workers = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    single = subprocess.run(command[:-2], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (with_workers.returncode, with_workers.stdout) == (single.returncode, "")
    assert with_workers.stderr == single.stderr
    assert "golden" in with_workers.stderr


def test_workers_keep_the_version_of_an_alias_that_moves(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    first, second = upload_archive(store, tmp_path, 2), upload_archive(store, tmp_path, 3)
    set_alias(store, "toy", first.digest)
    command = [sys.executable, "-m", "serving", "serve", "--port", "0", *TWO_WORKERS]
    command += ["--model-store", str(tmp_path / "store"), "--model", "toy"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split(" at ")[1].partition("/predict")[0]
            set_alias(store, "toy", second.digest)
            before = set(workers_of(server.pid))
            os.kill(min(before), signal.SIGKILL)
            assert eventually(lambda: len(set(workers_of(server.pid)) - before) == 1)
            assert {predict(url).json()["scale"] for _ in range(40)} == {2}
        finally:
            server.terminate()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_number_of_threads_of_an_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    toy, thread_counts = make_archive(tmp_path), []
    for threads in ("1", "2"):
        with serving(toy, options=("--threads", threads)) as server:
            thread_counts.append(len(list(Path(f"/proc/{server.process.pid}/task").iterdir())))
    # BLAS creates one more thread.
    assert thread_counts[1] == thread_counts[0] + 1


@pytest.mark.parametrize("count", ["2", "0"])
def test_port_of_a_server_with_workers_is_not_shared_with_another_server(tmp_path: Path, count: str) -> None:
    toy = make_archive(tmp_path)
    with serving(toy, options=TWO_WORKERS) as server:
        command = [sys.executable, "-m", "serving", "serve", "--archive", str(toy.path)]
        command += ["--port", str(server.port), "--workers", count]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert result.returncode == 2
        assert f"port {server.port} of 127.0.0.1 is taken" in result.stderr
    with socket.create_server(("127.0.0.1", server.port), reuse_port=False):
        pass
