"""One server from its start to its end: seconds until it answers, load, memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from .bodies import Body
from .contenders import THREADS, Contender, Place

START_WITHIN = 120.0
LOADS = (("c1", 1), ("c8", 8), ("c32", 32), ("b64", 4))
"""The loads and their connections; b64 sends 64 things in each request."""


class FailedError(Exception):
    """A server does not start, or answers wrongly; the message has the end of its log."""


@dataclass
class Measured:
    """What one server did in one round: seconds, MB, and a dict of each load."""

    start: float = 0.0
    memory: float = 0.0
    loads: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(contender: Contender, place: Place, bodies: dict[str, Body], seconds: float) -> Measured:
    """Start a server, hold its answers against the model's own, load it, and end it.

    FailedError when it does not answer, or not as the model does.
    """
    measured = Measured()
    url = f"http://127.0.0.1:{place.ports[0]}{contender.path.format(name=place.name)}"
    began = time.perf_counter()
    with _running(contender, place) as process:
        _await_port(process, place)
        _settle(contender, process, place)
        _await_answer(url, bodies["c1"], process, place)
        measured.start = time.perf_counter() - began
        for load, connections in LOADS:
            if load not in bodies:
                continue
            answer = _ask(url, bodies[load])
            if not answer.ok:
                raise FailedError(f"{contender.name} answers {answer.status_code}: {answer.text[:200]}")
            wrong = bodies[load].differs(answer.json())
            if wrong:
                raise FailedError(f"{contender.name} does not answer as the model does: {wrong[0]}")
            _wrk(url, bodies[load], connections, 1.0, place)
            measured.loads[load] = _wrk(url, bodies[load], connections, seconds, place)
        measured.memory = _memory(process.pid) / 1e6
    return measured


@contextmanager
def _running(contender: Contender, place: Place) -> Iterator[subprocess.Popen[bytes]]:
    command = contender.command(place)
    with (place.folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=place.folder,
            env={**place.environment, **(THREADS if contender.alone else {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # Launchers, workers and a JVM are one group.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _await_port(process: subprocess.Popen[bytes], place: Place) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", place.ports[0]), timeout=1).close()
            return
        except OSError:
            _check(process, place, deadline)
            time.sleep(0.01)


def _settle(contender: Contender, process: subprocess.Popen[bytes], place: Place) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            return contender.settle(place)
        except requests.ConnectionError:  # that port opens a moment later
            _check(process, place, deadline)
            time.sleep(0.02)


def _await_answer(url: str, body: Body, process: subprocess.Popen[bytes], place: Place) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            if _ask(url, body).ok:
                return
        except requests.RequestException:
            pass
        _check(process, place, deadline)
        time.sleep(0.02)


def _check(process: subprocess.Popen[bytes], place: Place, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        log = (place.folder / "log.txt").read_text(errors="replace")
        raise FailedError(f"it does not answer: {log[-1500:]}")


def _ask(url: str, body: Body) -> requests.Response:
    return requests.post(url, data=body.content, headers=body.headers, timeout=60)


def _wrk(url: str, body: Body, connections: int, seconds: float, place: Place) -> dict[str, Any]:
    """Load with wrk; returns requests a second, p50 and p99 in ms, and how many answers were bad."""
    path = place.folder / "body"
    path.write_bytes(body.content)
    headers = "".join(f"{name}: {value}\n" for name, value in body.headers.items())
    environment = {**os.environ, "WRK_BODY": str(path), "WRK_HEADERS": headers}
    script = str(Path(__file__).parent / "wrk.lua")
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "20s",
        "-s",
        script,
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds + 60)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    if done.returncode or found is None:
        raise FailedError(f"wrk failed: {done.stderr[-500:] or done.stdout[-500:]}")
    result = json.loads(found[1])
    if result["bad"]:
        raise FailedError(
            f"{result['bad']} of {result['requests']} requests failed at {connections} connections"
        )
    return {"rate": result["requests"] / result["seconds"], "p50": result["p50"], "p99": result["p99"]}


def _memory(session: int) -> int:
    """Return the bytes that the processes of a session hold, each shared page divided among its sharers."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if os.getsid(int(folder.name)) == session:
                rollup = (folder / "smaps_rollup").read_text()
                total += 1024 * int(re.findall(r"^Pss:\s+(\d+)", rollup, re.M)[0])
        except (OSError, IndexError):  # it ended meanwhile
            continue
    return total


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(s.getsockname()[1] for s in sockets)
    for s in sockets:
        s.close()
    return ports


def new_folder(path: Path) -> Path:
    """Return the folder, new and empty."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
