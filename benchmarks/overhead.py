"""What the pipeline costs: a whole local run through KFP against the same steps called in one plain script.

    python -m benchmarks.overhead [--rounds N] [--output docs/overhead.md]

Both do the same work (tracking, registry, archive, report and deploy included), in a fresh process and a
fresh state folder each; rounds alternate, and medians are compared. Three cases: the demo's `digits`, a
run whose training takes about ten seconds more (`sleeper`, a digits that waits), and a quiet day.
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
    """Run a Python module to its end; returns the seconds of the whole process."""
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent / 'path'}"}
    environment["BENCHMARK_SECONDS"] = str(wait)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "--state", str(state)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return seconds


def with_state(work: Callable[[Path], list[float]]) -> list[float]:
    """Give `work` a fresh state folder, whose registry's tables are made and server runs, as on any day."""
    state = Path(tempfile.mkdtemp(prefix="overhead-"))
    try:
        timed(["pipelines.run", "--workload", "diabetes"], state, 0)
        return work(state)
    finally:
        daemon.stop(state)
        shutil.rmtree(state)


def measure(rounds: int) -> dict[str, list[list[float]]]:
    """Return [pipeline, plain] seconds for each case and round."""
    found: dict[str, list[list[float]]] = {case: [] for case in GOALS}

    def once(module: str, wait: float) -> float:
        run = [module, "--workload", "sleeper"]
        return with_state(lambda state: [timed(run, state, wait)])[0]

    def quiet(state: Path) -> list[float]:
        return [timed(["pipelines.run", "--workload", "diabetes"], state, 0) for _ in range(rounds)]

    for number in range(rounds):
        for case, wait in (("digits", 0.0), ("10 s of training", 10.0)):
            found[case].append([once("pipelines.run", wait), once("benchmarks.plain", wait)])
            print(f"round {number + 1}, {case}: {found[case][-1]}", file=sys.stderr, flush=True)
    found["quiet day"] = [[seconds] for seconds in with_state(quiet)]
    return found


def table(found: dict[str, list[list[float]]]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| case | pipeline, s | plain script, s | difference, s | ratio | goal |",
        "|---|---|---|---|---|---|",
    ]
    for case, rounds in found.items():
        pipeline = statistics.median(r[0] for r in rounds)
        if len(rounds[0]) == 1:
            lines.append(f"| {case} | {pipeline:.1f} | – | – | – | {GOALS[case]} |")
            continue
        plain = statistics.median(r[1] for r in rounds)
        ratio = statistics.median(r[0] / r[1] for r in rounds)
        more = statistics.median(r[0] - r[1] for r in rounds)
        lines.append(f"| {case} | {pipeline:.1f} | {plain:.1f} | {more:+.1f} | {ratio:.2f} | {GOALS[case]} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print; with --output also write the table with the machine that it is from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    text = table(found)
    print(text)
    if arguments.output:
        about = (
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {arguments.rounds} rounds, medians"
        )
        arguments.output.write_text(
            f"# What the pipeline costs\n\n{about}; `make bench` measures it again.\n\n{text}\n"
        )
        arguments.output.with_suffix(".json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
