"""Measure the error rates of the gate and the variation of its latency check: the tables of docs/gate.md.

    python -m benchmarks.gate --output docs/gate.md      about two minutes

Challengers are simulated (simulated.py): some are equal to the champion, some are worse by exactly the
margin, and some are better.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.simulated import CASES, share_promoted
from continuous_training.core.files import write_text
from continuous_training.evaluation.cost_measurement import latencies_ms

BEGIN, END = "<!-- begin: python -m benchmarks.gate -->", "<!-- end -->"
COMPARISONS = 1000
_REPEATS = 30


def errors(comparisons: int) -> str:
    """Return the table of the share of promoted challengers of each kind."""
    lines = [
        "| models | rows | not better, but promoted | worse by the margin, promoted as non-inferior "
        "| better by | promoted |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        for rows in case.rows:
            noise = share_promoted(case, rows, 0.0, comparisons, seed=1)
            worse = share_promoted(case, rows, case.worse, comparisons, seed=2, margin=case.margin)
            power = share_promoted(case, rows, case.better, comparisons, seed=3)
            gain = f"{case.better:g}" if case.task == "classification" else f"{case.better:.0%} of the error"
            lines.append(
                f"| {case.name} | {rows} | {noise:.1%} | {worse:.1%} (margin {case.margin:g}) "
                f"| {gain} | {power:.0%} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines)


def latency(repeats: int) -> str:
    """Return the table of latency ratios between a model and itself, on an idle and on a busy machine."""
    lines = ["| the machine | least ratio | median | greatest |", "|---|---|---|---|"]
    for name, load in (("otherwise idle", 0), ("with four busy processes", 4)):
        with _cpu_load(load):
            ratios = [_ratio() for _ in range(repeats)]
        least, median, greatest = np.quantile(ratios, [0, 0.5, 1])
        lines.append(f"| {name} | {least:.3f} | {median:.3f} | {greatest:.3f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _ratio() -> float:
    first, second = latencies_ms([_model(), _model()], [1, 2, 3])
    return first / second


def _model() -> Callable[[object], object]:
    """Return a model whose prediction takes about half a millisecond on one core."""
    weights = np.random.default_rng(0).normal(size=200_000)
    return lambda _: np.sort(weights[:20_000]).sum()


@contextmanager
def _cpu_load(processes: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the tables between the markers of the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="a page with the markers; default: print only"
    )
    parser.add_argument(
        "--comparisons",
        type=int,
        default=COMPARISONS,
        metavar="N",
        help="comparisons of each kind (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    with threadpool_limits(1):
        error_table, latency_table = errors(arguments.comparisons), latency(_REPEATS)
    tables = (
        f"{arguments.comparisons:,} simulated comparisons in each cell, at a confidence of 95 %:\n\n"
        f"{error_table}\n\n"
        f"The ratio of a model's latency to its own, measured {_REPEATS} times:\n\n{latency_table}"
    )
    if arguments.output:
        page = arguments.output.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        write_text(arguments.output, f"{before}{BEGIN}\n{tables}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
