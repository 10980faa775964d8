"""The server's limits of requests, bytes and time, and its shutdown."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from foreground import ROOT, serving
from toy_models import make_archive

from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient


def predict(url: str, *x: float, timeout: float = 20) -> requests.Response:
    return requests.post(f"{url}/predict/toy", json={"x": x}, timeout=timeout)


def predict_concurrently(url: str, count: int) -> list[requests.Response]:
    """Send `count` requests at the same time, on connections that are already open."""
    barrier = threading.Barrier(count)

    def send(number: int) -> requests.Response:
        with requests.Session() as session:
            session.get(f"{url}/v2/health/live", timeout=20)
            barrier.wait(20)
            return session.post(f"{url}/predict/toy", json={"x": [number]}, timeout=20)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(send, range(1, count + 1)))


def test_a_full_queue_is_503_with_retry_after(tmp_path: Path) -> None:
    slow = make_archive(tmp_path, slow=0.3)
    with serving(slow, options=("--max-waiting", "1", "--batch-rows", "1")) as server:
        responses = predict_concurrently(server.url, 8)
    assert {response.status_code for response in responses} == {200, 503}
    for response in responses:
        if response.status_code == 503:
            assert response.headers["retry-after"] == "1"
            assert "waiting already" in response.json()["error"]


def test_the_total_size_of_all_requests_is_limited(tmp_path: Path) -> None:
    options = ("--max-body", "1", "--max-held", "2", "--timeout", "5")
    with serving(make_archive(tmp_path), options=options) as server, contextlib.ExitStack() as stack:
        # Each connection sends a body without its last byte, so that the server keeps the rest in memory.
        size = 1024**2
        head = f"POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        responses = []
        for _ in range(6):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            with contextlib.suppress(ConnectionError):
                connection.sendall(head + b" " * (size - 1))
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError, ConnectionError):
                responses.append(connection.recv(4096))
        assert any(
            response.startswith(b"HTTP/1.1 503") and b"retry-after" in response for response in responses
        )
        assert len(responses) < 6, "two requests are within the limit"
        stack.close()
        deadline = time.monotonic() + 10
        while predict(server.url, *[1.0] * 1000).status_code != 200:
            assert time.monotonic() < deadline, "the bytes of disconnected clients are never released"


def test_a_body_that_does_not_arrive_in_time_is_408(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=("--timeout", "0.3")) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            response = connection.makefile("rb").read()
        assert response.startswith(b"HTTP/1.1 408")
        assert b"did not arrive within 0.3 s" in response
        assert predict(server.url, 1).json()["y"] == [2.0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_server_answers_all_queued_requests_before_it_stops(tmp_path: Path, workers: str) -> None:
    slow = make_archive(tmp_path, slow=0.2)
    options = ("--batch-rows", "1", "--workers", workers)
    with serving(slow, options=options) as server, ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(predict, server.url, n) for n in range(1, 7)]
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        responses = [future.result() for future in futures]
        assert [response.json()["y"] for response in responses] == [[2.0 * n] for n in range(1, 7)]
        assert server.process.wait(10) == 0


def start(state: Path, *options: str) -> ServerClient:
    """Start a background server with additional options."""
    command = [
        sys.executable,
        "-m",
        "continuous_training.serving.process.background",
        "--state",
        str(state),
        "--port",
        "0",
        *options,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    daemon._children[process.pid] = process
    while (running := daemon.status(state)) is None:
        assert process.poll() is None
        time.sleep(0.01)
    return ServerClient(running)


def test_a_background_server_with_a_hanging_handler_restarts_with_the_confirmed_version(
    state: Path, tmp_path: Path
) -> None:
    state.mkdir()
    endpoint = start(state, "--stall", "1.5")
    confirmed, hanging = make_archive(tmp_path), make_archive(tmp_path, scale=3, hangs_on=7)
    endpoint.load("toy", confirmed.path, confirmed.digest)
    endpoint.load("toy", hanging.path, hanging.digest, 60)
    client = threading.Thread(target=predict_hanging_row, args=(endpoint,))
    client.start()
    management_responses = 0
    while (running := daemon.status(state)) is None or running.token == endpoint.running.token:
        if running is not None:
            with contextlib.suppress(Exception):
                # The management port responds until the process ends.
                management_responses += endpoint.models()[0].on_trial
        time.sleep(0.05)
    client.join()
    assert management_responses > 5
    assert running.pid == endpoint.running.pid
    restarted = ServerClient(running)
    assert restarted.predict("toy", {"x": [7]}, confirmed.digest) == {"scale": 2, "y": [14.0]}


def predict_hanging_row(endpoint: ServerClient) -> None:
    with contextlib.suppress(Exception):
        endpoint.predict("toy", {"x": [7]})


def test_a_foreground_server_with_a_hanging_handler_logs_its_stack_and_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    hanging = make_archive(tmp_path, hangs_on=7)
    with serving(hanging, options=("--stall", "0.5"), log=log) as server:
        with pytest.raises(requests.ConnectionError):
            predict(server.url, 7)
        assert server.process.wait(10) == 1
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["level"] == "critical"
    assert "a batch of toy has taken more than 0.5 s" in line["message"]
    assert "in inference" in line["traceback"]


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_handler_that_holds_the_interpreter_lock_ends_its_process(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    """A catastrophic regular expression lets no other thread run, and no signal handler."""
    log = tmp_path / "log"
    locking = make_archive(tmp_path, locks_on=7)
    with serving(locking, options=("--stall", "0.5", *workers), log=log) as server:
        with pytest.raises(requests.ConnectionError):
            predict(server.url, 7, timeout=60)
        if workers:
            assert predict(server.url, 1).json()["y"] == [2.0]
        else:
            assert server.process.wait(10) == 1
    assert "Timeout" in log.read_text()
    assert "in inference" in log.read_text()


def test_the_number_of_cores_is_limited_by_the_container(tmp_path: Path) -> None:
    from continuous_training.serving.process.settings import available_cores

    quota = tmp_path / "cpu.max"
    assert available_cores(quota) == len(os.sched_getaffinity(0))
    quota.write_text("max 100000\n")
    assert available_cores(quota) == len(os.sched_getaffinity(0))
    quota.write_text("50000 100000\n")
    assert available_cores(quota) == 1
