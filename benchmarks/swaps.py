"""Swap a served model repeatedly under load: no request may be lost, and memory must not grow.

    python -m benchmarks.swaps [--swaps 100] [--connections 32] [--output docs/swaps.md]

The load generator is `wrk` if it is installed, and otherwise a slower one in Python.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet
from continuous_training.artifacts.handler_packaging import copy_handler
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient

_BODY = "swaps.json"
_LUA = """
wrk.method = "POST"
local file = io.open("%s", "rb")
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass
class Load:
    """The load generator, and its numbers of successful and of lost requests."""

    tool: str
    answered: int = 0
    lost: int = 0


@dataclass
class Swaps:
    """The results: the load, the seconds of each swap, and the server's memory in MiB after each swap."""

    load: Load
    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    @property
    def leaked(self) -> float:
        """MiB added by the second half of the swaps: the mean of its last quarter minus that of its first."""
        half = self.memory[len(self.memory) // 2 :]
        part = max(1, len(half) // 4)
        return sum(half[-part:]) / part - sum(half[:part]) / part


def swap_under_load(
    versions: list[Archive], request: Any, swaps: int, connections: int, state: Path
) -> Swaps:
    """Swap between the versions in a server of the state directory, while clients send requests."""
    endpoint = ServerClient(daemon.start(state, 0))
    name = versions[0].name
    try:
        endpoint.load(name, versions[0].path, versions[0].digest)
        with _load(endpoint.running.url, name, request, connections, state) as load:
            result = Swaps(load)
            for number in range(1, swaps + 1):
                version = versions[number % len(versions)]
                started = time.perf_counter()
                endpoint.load(name, version.path, version.digest)
                result.seconds.append(time.perf_counter() - started)
                endpoint.predict(name, request, version.digest)
                result.memory.append(_memory(endpoint.running.pid))
    finally:
        daemon.stop(state)
    return result


@contextmanager
def _load(url: str, name: str, request: Any, connections: int, folder: Path) -> Iterator[Load]:
    body = folder / _BODY
    body.write_text(json.dumps(request))
    program = shutil.which("wrk")
    if program is None:
        yield from _python_load(f"{url}/predict/{name}", body.read_bytes(), connections)
        return
    script = folder / "swaps.lua"
    script.write_text(_LUA % body)
    command = [program, "-t1", f"-c{connections}", "-d1h", "-s", str(script), f"{url}/predict/{name}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    load = Load("wrk")
    try:
        yield load
    finally:
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0]
        load.answered = _number(r"(\d+) requests in", output)
        load.lost = _number(r"Non-2xx or 3xx responses: (\d+)", output)
        errors = re.search(r"Socket errors: (.*)", output)
        load.lost += sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def _python_load(url: str, body: bytes, connections: int) -> Iterator[Load]:
    load = Load("Python")
    stop = threading.Event()
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    head = f"POST /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    message = head.encode() + body

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while not stop.is_set():
            try:
                writer.write(message)
                answer = await reader.readuntil(b"\r\n\r\n")
                size = _number(r"content-length: (\d+)", answer.decode("latin-1"))
                await reader.readexactly(size)
                succeeded = answer.startswith(b"HTTP/1.1 200")
            except (OSError, EOFError):
                load.lost += 1
                return
            load.answered += succeeded
            load.lost += not succeeded
        writer.close()

    async def callers() -> None:
        await asyncio.gather(*(caller() for _ in range(connections)))

    thread = threading.Thread(target=lambda: asyncio.run(callers()))
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()


def _memory(pid: int) -> float:
    """Read a process's resident memory, in MiB."""
    return _number(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) / 1024


def digits_versions(folder: Path) -> tuple[list[Archive], Any]:
    """Archive the digits model as two versions. Return the archives and a valid request."""
    from benchmarks.raw_rows import read_raw_rows
    from workloads import discovery

    workload = discovery.get("digits")
    values = workload.parse({})
    rows = read_raw_rows(workload, workload.default_source, values)
    bundle = folder / "bundle"
    bundle.mkdir()
    workload.train(rows, values, bundle, lambda _: None)
    copy_handler(workload.handler, bundle)
    metadata = {
        "name": workload.name,
        "handler": f"{workload.handler.__module__}:{workload.handler.__qualname__}",
        "inputs": [tensor.to_json() for tensor in workload.handler.inputs],
        "outputs": [tensor.to_json() for tensor in workload.handler.outputs],
    }
    (bundle / "model.json").write_text(json.dumps(metadata))
    handler = workload.handler()
    handler.load(bundle)
    request = workload.request(rows.slice(0, 1))
    answer = handler.handle([{"body": request}])[0]
    golden = GoldenSet((GoldenRequest(request, answer),))
    versions = [
        archive_writer.write(bundle, folder / "archives", golden=golden, provenance={"version": number})
        for number in (1, 2)
    ]
    return versions, request


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark. Return 1 if a request was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swaps", description=__doc__)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--output", type=Path, help="a Markdown file to write the result to")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="swaps-") as folder:
        versions, request = digits_versions(Path(folder))
        state = Path(folder) / "state"
        state.mkdir()
        result = swap_under_load(versions, request, args.swaps, args.connections, state)
    text = _report(result, args.swaps, args.connections)
    print(text, end="")
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")
    return 1 if result.load.lost else 0


def _report(result: Swaps, swaps: int, connections: int) -> str:
    ordered = sorted(result.seconds)
    return (
        f"# {swaps} swaps under load\n\n"
        f"The digits model, two versions alternately, {connections} connections ({result.load.tool}).\n\n"
        "| measurement | value |\n|---|---|\n"
        f"| requests answered | {result.load.answered:,} |\n"
        f"| requests lost | {result.load.lost} |\n"
        f"| a swap: unpack, verify, load, golden requests, switch | median {ordered[swaps // 2]:.2f} s, "
        f"longest {ordered[-1]:.2f} s |\n"
        f"| server's memory after the first swap, and after the last | {result.memory[0]:.0f} and "
        f"{result.memory[-1]:.0f} MiB |\n"
        f"| added by the second half of the swaps | {result.leaked:+.1f} MiB |\n"
    )


if __name__ == "__main__":
    sys.exit(main())
