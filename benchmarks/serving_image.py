"""What a serving image weighs, and how soon a server in it is ready.

    python -m benchmarks.serving_image [--rounds 5] [--archive FILE.mar]

The size is that of the installed distributions that the `serving` extra needs, all the way down; the time
is from starting the process to the first answer of /v2/health/ready, with that archive or one of digits.
The processor's time for the same says more where other things are done on the machine.
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
    """Find the installed distributions that a distribution with these extras needs, itself left out."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(name, extras)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        distribution = metadata.distribution(one[0])
        if one[0] != name:
            found[distribution.metadata["Name"].lower()] = distribution
        waiting += _needs(distribution, one[1])
    return found


def _needs(
    distribution: metadata.Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for text in distribution.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement.name, frozenset(requirement.extras)


def size(distribution: metadata.Distribution) -> int:
    """Add up the bytes of a distribution's files, compiled Python left out."""
    paths = (Path(str(file.locate())) for file in distribution.files or [])
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def seconds_to_ready(archive: Path) -> tuple[float, float]:
    """Start a server of the archive and wait until it says that it is ready.

    Returns the seconds by the clock, and those of the processor.
    """
    probe = listen("127.0.0.1", 0)
    port = probe.getsockname()[1]
    probe.close()
    command = [sys.executable, "-m", "serving", "serve", "--archive", str(archive), "--port", str(port)]
    began = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/v2/health/ready")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - began, _processor(server.pid)
            except OSError:
                pass
            time.sleep(0.005)
        raise UserError(f"the server ended with exit code {server.returncode}")
    finally:
        server.terminate()
        server.wait()


def _processor(pid: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def main(argv: list[str] | None = None) -> int:
    """Print both; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_image", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--archive", type=Path, metavar="FILE.mar", help="default: one of digits, made here")
    args = parser.parse_args(argv)
    sizes = {name: size(distribution) for name, distribution in closure().items()}
    for name, bytes_ in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        print(f"{bytes_ / 1e6:8.1f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total / 1e6:8.1f} MB  in {len(sizes)} distributions (goal: under {LIMIT / 1e6:.0f})")
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        path = args.archive or digits_versions(Path(folder))[0][0].path
        rounds = [seconds_to_ready(path) for _ in range(args.rounds)]
    seconds, processor = (statistics.median(found) for found in zip(*rounds, strict=True))
    print(f"{seconds:8.2f} s   from start to ready, median of {args.rounds} (goal: under {READY_SECONDS})")
    print(f"{processor:8.2f} s   of processor time for it")
    return int(total >= LIMIT or seconds >= READY_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
