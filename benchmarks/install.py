"""Measure the time from a clean clone to an answered prediction, with empty caches and with filled ones.

    python -m benchmarks.install [--workload digits] [--output docs/install-benchmark.md]

Each round clones the last commit into a temporary directory and runs `make install` and `make demo` there,
with the caches of uv and pip in the same temporary directory. CPU seconds include all child processes, except
the model server, which outlives the demo. Received bytes are summed over all network interfaces (Linux only).
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL_SECONDS = 60


@dataclass(frozen=True)
class Step:
    """Wall-clock seconds, CPU seconds and received bytes of one command."""

    seconds: float
    cpu: float
    received: int


@dataclass(frozen=True)
class Round:
    """One clean clone: its steps, and the bytes of the virtual environment after installation."""

    caches: str
    clone: Step
    install: Step
    demo: Step
    installed: int

    @property
    def seconds(self) -> float:
        """Seconds from the start of the clone to the answered prediction."""
        return self.clone.seconds + self.install.seconds + self.demo.seconds


def measure(directory: Path, caches: str, workload: str) -> Round:
    """Run one round in a directory that holds the caches; SystemExit when a command fails."""
    clone = directory / caches
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))},
        "UV_CACHE_DIR": str(directory / "uv"),
        "PIP_CACHE_DIR": str(directory / "pip"),
    }
    make = ["make", "-C", str(clone), f"WORKLOAD={workload}", "STATE=.state"]
    try:
        cloned = _run(["git", "clone", "-q", str(ROOT), str(clone)], environment)
        installed = _run([*make, "install"], environment)
        size = _bytes(clone / ".venv")
        demo = _run([*make, "demo"], environment)
    finally:
        python = clone / ".venv/bin/python"
        if python.exists():
            subprocess.run(
                [python, "-m", "serving", "stop"], cwd=clone, check=False, stdout=subprocess.DEVNULL
            )
        shutil.rmtree(clone, ignore_errors=True)
    return Round(caches, cloned, installed, demo, size)


def _run(command: list[str], environment: dict[str, str]) -> Step:
    started, cpu, received = time.perf_counter(), _cpu(), _received()
    completed = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if completed.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{completed.stdout}{completed.stderr}")
    return Step(time.perf_counter() - started, _cpu() - cpu, _received() - received)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _received() -> int:
    """Return the bytes that all network interfaces except loopback have received, or 0 if unknown."""
    devices = Path("/proc/net/dev")
    if not devices.exists():
        return 0
    counters = (line.split(":") for line in devices.read_text().splitlines() if ":" in line)
    return sum(int(values.split()[0]) for name, values in counters if name.strip() != "lo")


def _bytes(directory: Path) -> int:
    return sum(file.lstat().st_size for file in directory.rglob("*") if file.is_file())


def table(rounds: list[Round], workload: str, load: float) -> str:
    """Return the result as a Markdown page; `load` is the load average before the measurement."""
    machine = (
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load average {load:.1f} before the measurement"
    )
    uv = "uv was on PATH" if shutil.which("uv") else "uv was not on PATH, so it was installed first"
    lines = [
        "# From a clean clone to an answered prediction",
        "",
        f"Measured by `make bench-install` with the workload `{workload}`: {machine}; {uv}.",
        f"The goal is {GOAL_SECONDS} s with empty caches on 2 idle cores.",
        "",
        "| caches | clone to prediction, s | install: wall, s | CPU, s | received, MB | installed, MB "
        "| demo: wall, s | CPU, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {measurement.caches} | {measurement.seconds:.1f} "
        f"| {measurement.install.seconds:.1f} | {measurement.install.cpu:.1f} "
        f"| {measurement.install.received / 1e6:.0f} | {measurement.installed / 1e6:.0f} "
        f"| {measurement.demo.seconds:.1f} | {measurement.demo.cpu:.1f} |"
        for measurement in rounds
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.install",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", default="digits", help="default: %(default)s")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table to this file too")
    arguments = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-install-") as directory:
        rounds = [measure(Path(directory), caches, arguments.workload) for caches in ("empty", "filled")]
    page = table(rounds, arguments.workload, load)
    print(page, end="")
    if arguments.output:
        arguments.output.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
