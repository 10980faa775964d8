"""Measure the overhead of the pipeline: a local run through KFP, and the same steps in one plain script.

    python -m benchmarks.overhead [--rounds N] [--output docs/overhead.md]

Both execute the same steps, including tracking, registry, archive, report and deployment, each in a new
process with a new state directory. Rounds alternate, and medians are compared. The three cases are: the
demo's `digits`, a run with ten additional seconds of training (`sleeper`), and a quiet day (a run with
unchanged data).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from continuous_training.serving.process import daemon

ROOT = Path(__file__).parents[1]
GOALS = {
    "digits": "under 2 s more",
    "10 s of training": "at most 1.3x",
    "quiet day": "at most 3 s",
}


def timed(arguments: list[str], state: Path, wait: float) -> float:
    """Run a Python module. Return the wall-clock seconds of its process; exit if it fails."""
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent / 'path'}"}
    environment["BENCHMARK_SECONDS"] = str(wait)
    started = time.perf_counter()
    completed = subprocess.run(
        [sys.executable, "-m", *arguments, "--state", str(state)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    seconds = time.perf_counter() - started
    if completed.returncode:
        sys.exit(f"{arguments} failed:\n{completed.stderr[-2000:]}")
    return seconds


def with_state(action: Callable[[Path], list[float]]) -> list[float]:
    """Call `action` with a new state directory that has an initialised registry and a running server."""
    state = Path(tempfile.mkdtemp(prefix="overhead-"))
    try:
        timed(["pipelines.run", "--workload", "diabetes"], state, 0)
        return action(state)
    finally:
        daemon.stop(state)
        shutil.rmtree(state)


def measure(rounds: int) -> dict[str, list[list[float]]]:
    """Return [pipeline, plain] seconds for each case and round."""
    seconds_by_case: dict[str, list[list[float]]] = {case: [] for case in GOALS}

    def run_once(module: str, wait: float) -> float:
        run = [module, "--workload", "sleeper"]
        return with_state(lambda state: [timed(run, state, wait)])[0]

    def quiet_day(state: Path) -> list[float]:
        return [timed(["pipelines.run", "--workload", "diabetes"], state, 0) for _ in range(rounds)]

    for number in range(rounds):
        for case, wait in (("digits", 0.0), ("10 s of training", 10.0)):
            seconds_by_case[case].append(
                [run_once("pipelines.run", wait), run_once("benchmarks.plain", wait)]
            )
            print(f"round {number + 1}, {case}: {seconds_by_case[case][-1]}", file=sys.stderr, flush=True)
    seconds_by_case["quiet day"] = [[seconds] for seconds in with_state(quiet_day)]
    return seconds_by_case


def table(seconds_by_case: dict[str, list[list[float]]]) -> str:
    """Return the medians as a Markdown table."""
    lines = [
        "| case | pipeline, s | plain script, s | difference, s | ratio | goal |",
        "|---|---|---|---|---|---|",
    ]
    for case, rounds in seconds_by_case.items():
        pipeline = statistics.median(r[0] for r in rounds)
        if len(rounds[0]) == 1:
            lines.append(f"| {case} | {pipeline:.1f} | – | – | – | {GOALS[case]} |")
            continue
        plain = statistics.median(r[1] for r in rounds)
        ratio = statistics.median(r[0] / r[1] for r in rounds)
        difference = statistics.median(r[0] - r[1] for r in rounds)
        lines.append(
            f"| {case} | {pipeline:.1f} | {plain:.1f} | {difference:+.1f} | {ratio:.2f} | {GOALS[case]} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table. With --output, also write it with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    seconds_by_case = measure(arguments.rounds)
    text = table(seconds_by_case)
    print(text)
    if arguments.output:
        description = (
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {arguments.rounds} rounds, medians"
        )
        arguments.output.write_text(
            f"# Overhead of the pipeline\n\n{description}. `make bench` repeats the measurement.\n\n{text}\n"
        )
        arguments.output.with_suffix(".json").write_text(json.dumps(seconds_by_case, indent=1))


if __name__ == "__main__":
    main()
