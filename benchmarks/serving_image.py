"""Measure the size of a serving image and the start-up time of its server.

    python -m benchmarks.serving_image [--rounds 5] [--archive FILE.mar]

The size is the sum of the installed distributions that the `serving` extra requires, including transitive
requirements. The start-up time is from the start of the process to the first response 200 of
/v2/health/ready, with the specified archive or an archive of digits. CPU time is also printed, because it is
more reliable on a busy machine.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from continuous_training.core.errors import UserError
from continuous_training.serving.process.sockets import listen

from .swaps import digits_versions

ROOT = Path(__file__).parents[1]
PROJECT, EXTRA = "continuous-training", "serving"
LIMIT = 400_000_000
READY_SECONDS = 1.5


def closure(
    name: str = PROJECT, extras: frozenset[str] = frozenset({EXTRA})
) -> dict[str, metadata.Distribution]:
    """Return the installed distributions that a distribution with these extras requires, without itself."""
    distributions: dict[str, metadata.Distribution] = {}
    pending = [(name, extras)]
    visited: set[tuple[str, frozenset[str]]] = set()
    while pending:
        current = pending.pop()
        if current in visited:
            continue
        visited.add(current)
        distribution = metadata.distribution(current[0])
        if current[0] != name:
            distributions[distribution.metadata["Name"].lower()] = distribution
        pending += _needs(distribution, current[1])
    return distributions


def _needs(
    distribution: metadata.Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for text in distribution.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement.name, frozenset(requirement.extras)


def size(distribution: metadata.Distribution) -> int:
    """Return the total bytes of a distribution's files, without compiled Python."""
    paths = (Path(str(file.locate())) for file in distribution.files or [])
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def seconds_to_ready(archive: Path) -> tuple[float, float]:
    """Start a server with the archive and wait until it is ready.

    Return wall-clock seconds and CPU seconds.
    """
    probe = listen("127.0.0.1", 0)
    port = probe.getsockname()[1]
    probe.close()
    command = [sys.executable, "-m", "serving", "serve", "--archive", str(archive), "--port", str(port)]
    started = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/v2/health/ready")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - started, _processor(server.pid)
            except OSError:
                pass
            time.sleep(0.005)
        raise UserError(f"the server exited with code {server.returncode}")
    finally:
        server.terminate()
        server.wait()


def _processor(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(argv: list[str] | None = None) -> int:
    """Print size and start-up time. Return 1 if a goal is not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_image", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--archive", type=Path, metavar="FILE.mar", help="default: an archive of digits")
    args = parser.parse_args(argv)
    sizes = {name: size(distribution) for name, distribution in closure().items()}
    for name, bytes_ in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        print(f"{bytes_ / 1e6:8.1f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total / 1e6:8.1f} MB  in {len(sizes)} distributions (goal: under {LIMIT / 1e6:.0f})")
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        path = args.archive or digits_versions(Path(folder))[0][0].path
        rounds = [seconds_to_ready(path) for _ in range(args.rounds)]
    seconds, processor = (statistics.median(values) for values in zip(*rounds, strict=True))
    print(f"{seconds:8.2f} s   from start to ready, median of {args.rounds} (goal: under {READY_SECONDS})")
    print(f"{processor:8.2f} s   of CPU time for it")
    return int(total >= LIMIT or seconds >= READY_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
