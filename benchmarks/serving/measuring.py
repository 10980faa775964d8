"""Measure one server from start to stop: start-up time, request rate and latency, memory."""

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
from .contenders import THREADS, Contender, LaunchContext

START_WITHIN = 120.0
LOADS = (("c1", 1), ("c8", 8), ("c32", 32), ("b64", 4))
"""The loads and their connections; b64 sends 64 items in each request."""


class FailedError(Exception):
    """A server does not start or responds incorrectly. The message contains the end of its log."""


@dataclass
class Measurement:
    """One server in one round: start-up seconds, memory in MB, and for each load its rate, p50 and p99."""

    start: float = 0.0
    memory: float = 0.0
    loads: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(
    contender: Contender, context: LaunchContext, bodies: dict[str, Body], seconds: float
) -> Measurement:
    """Start a server, compare its responses with the model's own responses, apply the loads, and stop it.

    Raises FailedError if the server does not respond or its responses differ.
    """
    measured = Measurement()
    url = f"http://127.0.0.1:{context.ports[0]}{contender.path.format(name=context.name)}"
    started = time.perf_counter()
    with _running(contender, context) as process:
        _await_port(process, context)
        _prepare(contender, process, context)
        _await_answer(url, bodies["c1"], process, context)
        measured.start = time.perf_counter() - started
        for load, connections in LOADS:
            if load not in bodies:
                continue
            answer = _post(url, bodies[load])
            if not answer.ok:
                raise FailedError(
                    f"{contender.name} responds with status {answer.status_code}: {answer.text[:200]}"
                )
            differences = bodies[load].find_differences(answer.json())
            if differences:
                raise FailedError(f"{contender.name} responds differently from the model: {differences[0]}")
            _wrk(url, bodies[load], connections, 1.0, context)
            measured.loads[load] = _wrk(url, bodies[load], connections, seconds, context)
        measured.memory = _memory(process.pid) / 1e6
    return measured


@contextmanager
def _running(contender: Contender, context: LaunchContext) -> Iterator[subprocess.Popen[bytes]]:
    command = contender.command(context)
    with (context.folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=context.folder,
            env={**context.environment, **(THREADS if contender.single_threaded else {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # The launcher, its workers and a JVM belong to one process group.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _await_port(process: subprocess.Popen[bytes], context: LaunchContext) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", context.ports[0]), timeout=1).close()
            return
        except OSError:
            _check(process, context, deadline)
            time.sleep(0.01)


def _prepare(contender: Contender, process: subprocess.Popen[bytes], context: LaunchContext) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            return contender.prepare(context)
        except requests.ConnectionError:  # The management port opens later than the first port.
            _check(process, context, deadline)
            time.sleep(0.02)


def _await_answer(url: str, body: Body, process: subprocess.Popen[bytes], context: LaunchContext) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            if _post(url, body).ok:
                return
        except requests.RequestException:
            pass
        _check(process, context, deadline)
        time.sleep(0.02)


def _check(process: subprocess.Popen[bytes], context: LaunchContext, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        log = (context.folder / "log.txt").read_text(errors="replace")
        raise FailedError(f"the server does not respond: {log[-1500:]}")


def _post(url: str, body: Body) -> requests.Response:
    return requests.post(url, data=body.content, headers=body.headers, timeout=60)


def _wrk(url: str, body: Body, connections: int, seconds: float, context: LaunchContext) -> dict[str, Any]:
    """Apply the load with wrk. Return `rate` in requests per second, and `p50` and `p99` in ms."""
    path = context.folder / "body"
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
    completed = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds + 60)
    match = re.search(r"^RESULT (.*)$", completed.stdout, re.M)
    if completed.returncode or match is None:
        raise FailedError(f"wrk failed: {completed.stderr[-500:] or completed.stdout[-500:]}")
    result = json.loads(match[1])
    if result["bad"]:
        raise FailedError(
            f"{result['bad']} of {result['requests']} requests failed at {connections} connections"
        )
    return {"rate": result["requests"] / result["seconds"], "p50": result["p50"], "p99": result["p99"]}


def _memory(session: int) -> int:
    """Return the memory of the processes of a session in bytes: the sum of their proportional set sizes."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if os.getsid(int(folder.name)) == session:
                rollup = (folder / "smaps_rollup").read_text()
                total += 1024 * int(re.findall(r"^Pss:\s+(\d+)", rollup, re.M)[0])
        except (OSError, IndexError):  # The process ended in the meantime.
            continue
    return total


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that are currently free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(s.getsockname()[1] for s in sockets)
    for s in sockets:
        s.close()
    return ports


def new_folder(path: Path) -> Path:
    """Create the directory, empty, and return it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
