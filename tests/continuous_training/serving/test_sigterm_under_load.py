"""SIGTERM loses no request, on a machine with many more busy processes than processors."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from foreground import serving
from toy_models import make_archive

from continuous_training.serving.process.sockets import accept_connections, listen, reject_connections
from tests.attacks.clients import END_OF_RESPONSE, REQUEST, Client

BUSY_PROCESSES = 30
BUSY = """
import os, time
parent, end = os.getppid(), time.monotonic() + 60
while time.monotonic() < end and os.getppid() == parent:
    pass
"""
CLIENTS = 24


@contextmanager
def busy_machine() -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(BUSY_PROCESSES)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost(tmp_path: Path, workers: str) -> None:
    with serving(make_archive(tmp_path), options=("--workers", workers)) as server, busy_machine():
        clients = [Client(server.port, keep_alive=number % 2 == 0) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        end = time.monotonic() + 30
        while sum(client.responses for client in clients) < 2 * CLIENTS and time.monotonic() < end:
            time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        for client in clients:
            client.join()
    assert sum(client.responses for client in clients) >= 2 * CLIENTS
    assert sum((client.lost for client in clients), Counter()) == {}


def test_a_client_that_has_connected_before_sigterm_can_send_its_request(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(REQUEST)
            assert END_OF_RESPONSE in connection.makefile("rb").read()
        assert server.process.wait(10) == 0


def test_idle_connections_do_not_delay_the_end(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            start = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert connection.recv(1) == b""
            assert server.process.wait(10) == 0
        assert time.monotonic() - start < 8


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are a feature of Linux")
def test_a_socket_that_rejects_connections_keeps_those_that_are_open() -> None:
    with listen("127.0.0.1", None) as listening:
        address = listening.getsockname()
        with socket.create_connection(address, 5) as client:
            reject_connections(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, 0.3)
            accepted, _ = listening.accept()
            client.sendall(b"request")
            with accepted:
                accepted.settimeout(5)
                assert accepted.recv(7) == b"request"
        accept_connections(listening)
        socket.create_connection(address, 5).close()
        reject_connections(listening)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="--workers works on Linux only")
def test_the_replacement_of_a_worker_that_got_sigterm_accepts_connections(tmp_path: Path) -> None:
    with serving(make_archive(tmp_path), options=("--workers", "2")) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        first = children.read_text().split()
        for pid in first:
            os.kill(int(pid), signal.SIGTERM)
        end = time.monotonic() + 30
        while not (len(now := children.read_text().split()) == 2 and not set(now) & set(first)):
            assert time.monotonic() < end
            time.sleep(0.05)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
                connection.sendall(REQUEST)
                assert END_OF_RESPONSE in connection.recv(1 << 16)
