"""What a server does when there is too much of something: requests, bytes, time; and when it is to end."""

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


def ask(url: str, *x: float, seconds: float = 20) -> requests.Response:
    return requests.post(f"{url}/predict/toy", json={"x": x}, timeout=seconds)


def together(url: str, count: int) -> list[requests.Response]:
    """Ask from connections that are open already, all at once."""
    ready = threading.Barrier(count)

    def one(number: int) -> requests.Response:
        with requests.Session() as session:
            session.get(f"{url}/v2/health/live", timeout=20)
            ready.wait(20)
            return session.post(f"{url}/predict/toy", json={"x": [number]}, timeout=20)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(1, count + 1)))


def test_a_full_queue_is_503_with_retry_after(tmp_path: Path) -> None:
    slow = make_archive(tmp_path, slow=0.3)
    with serving(slow, options=("--max-waiting", "1", "--batch-rows", "1")) as server:
        answers = together(server.url, 8)
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "1"
            assert "waiting already" in answer.json()["error"]


def test_bytes_of_all_requests_together_are_bounded(tmp_path: Path) -> None:
    options = ("--max-body", "1", "--max-held", "2", "--timeout", "5")
    with serving(make_archive(tmp_path), options=options) as server, contextlib.ExitStack() as stack:
        # Each announces a body and sends most of it: the server has to hold what it got.
        size = 1024**2
        head = f"POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        refused = []
        for _ in range(6):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            with contextlib.suppress(ConnectionError):
                raw.sendall(head + b" " * (size - 1))
            raw.settimeout(0.3)
            with contextlib.suppress(TimeoutError, ConnectionError):
                refused.append(raw.recv(4096))
        assert any(answer.startswith(b"HTTP/1.1 503") and b"retry-after" in answer for answer in refused)
        assert len(refused) < 6, "two fit in"
        stack.close()
        deadline = time.monotonic() + 10
        while ask(server.url, *[1.0] * 1000).status_code != 200:
            assert time.monotonic() < deadline, "what callers who left had sent is held for ever"


def test_a_body_that_does_not_arrive_is_408(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=("--timeout", "0.3")) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as raw:
            raw.sendall(b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"did not arrive within 0.3 s" in answer
        assert ask(server.url, 1).json()["y"] == [2.0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_request_that_waits_is_answered_before_the_server_ends(tmp_path: Path, workers: str) -> None:
    slow = make_archive(tmp_path, slow=0.2)
    options = ("--batch-rows", "1", "--workers", workers)
    with serving(slow, options=options) as server, ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, server.url, n) for n in range(1, 7)]
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
        assert [answer.json()["y"] for answer in answers] == [[2.0 * n] for n in range(1, 7)]
        assert server.process.wait(10) == 0


def start(state: Path, *options: str) -> ServerClient:
    """Start a background server with options of its own."""
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


def test_a_handler_that_hangs_is_seen_and_a_fresh_process_serves_what_is_confirmed(
    state: Path, tmp_path: Path
) -> None:
    state.mkdir()
    endpoint = start(state, "--stall", "1.5")
    good, hanging = make_archive(tmp_path), make_archive(tmp_path, scale=3, hangs_on=7)
    endpoint.load("toy", good.path, good.digest)
    endpoint.load("toy", hanging.path, hanging.digest, 60)
    asking = threading.Thread(target=hang, args=(endpoint,))
    asking.start()
    seen = 0
    while (running := daemon.status(state)) is None or running.token == endpoint.running.token:
        if running is not None:
            with contextlib.suppress(Exception):
                # The private port answers for as long as the process is there.
                seen += endpoint.models()[0].on_trial
        time.sleep(0.05)
    asking.join()
    assert seen > 5
    assert running.pid == endpoint.running.pid
    again = ServerClient(running)
    assert again.predict("toy", {"x": [7]}, good.digest) == {"scale": 2, "y": [14.0]}


def hang(endpoint: ServerClient) -> None:
    with contextlib.suppress(Exception):
        endpoint.predict("toy", {"x": [7]})


def test_a_handler_that_hangs_in_the_foreground_ends_the_process_and_says_where(tmp_path: Path) -> None:
    log = tmp_path / "log"
    hanging = make_archive(tmp_path, hangs_on=7)
    with serving(hanging, options=("--stall", "0.5"), log=log) as server:
        with pytest.raises(requests.ConnectionError):
            ask(server.url, 7)
        assert server.process.wait(10) == 1
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert line["level"] == "critical"
    assert "a batch of toy has taken more than 0.5 s" in line["message"]
    assert "in inference" in line["traceback"]


def test_cores_are_those_of_the_container(tmp_path: Path) -> None:
    from continuous_training.serving.process.settings import available_cores

    quota = tmp_path / "cpu.max"
    assert available_cores(quota) == len(os.sched_getaffinity(0))
    quota.write_text("max 100000\n")
    assert available_cores(quota) == len(os.sched_getaffinity(0))
    quota.write_text("50000 100000\n")
    assert available_cores(quota) == 1
