"""Measure the error rates of the gate and the variation of its latency check: the tables of docs/gate.md.

    python -m benchmarks.gate --output docs/gate.md      about ten minutes on two cores

Challengers are simulated (simulated.py): some are equal to the champion, some are worse by exactly the
margin, and some are better.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import groups, populations, seasons
from benchmarks.simulated import CASES, Case, share_promoted
from continuous_training.core.files import write_text
from continuous_training.evaluation.cost_measurement import latencies_ms

TEXT = """\
{comparisons:,} simulated comparisons in each cell, at a confidence of 95 %, with the 95 % intervals of the
rates. The last column of the first table has {power} comparisons:

{superiority}

Many rows, which are resampled in groups ({most_rows_comparisons:,} comparisons of 500,000 rows):

{many_rows}

Models that are worse by exactly the margin of a rule of non-inferiority, or by the limit of a guard:

{margins}

Models with the same predictions as the champion, on the number of rows that the margin or guard needs:

{identical}

A split by group, where the rows of a group depend on each other, with a mean of ten rows in each group. The
challengers are not better, or worse by the margin. In the last column, {power} comparisons treat the rows as
independent:

{dependent_rows}

Data whose meaning changed in training rows and holdout alike, after a champion that was promoted on 500 usual
rows: {comparisons:,} nights each, and {power} nights without the check of the population:

{different_populations}

A yearly sine with an amplitude of one standard deviation and a trend of a tenth of a standard deviation per
month, {comparisons:,} trainings each, each on the rows of one day:

{seasonal_nights}

The ratio of a model's latency to its own, measured {repeats} times:

{latency}"""
BEGIN, END = "<!-- begin: python -m benchmarks.gate -->", "<!-- end -->"
COMPARISONS, POWER = 4000, 400
MANY_ROWS = (5_000, 50_000, 500_000)
MANY_ROWS_CASES = (
    "balanced accuracy, two classes",
    "R², normal errors",
    "MSE, challenger with heavier tails",
)
POPULATION_ROWS = 500
_REPEATS = 30

Run = Callable[..., Future[float]]
"""Submits `share` with these arguments to a process."""


def superiority(run: Run, comparisons: int) -> str:
    """Return the table of the share of challengers that a rule of superiority promotes."""
    cells = [
        (case, rows, run(case.name, rows, 0.0, comparisons, 1), run(case.name, rows, case.better, POWER, 3))
        for case in CASES
        for rows in case.rows
    ]
    lines = ["| models | rows | not better, but promoted | better by | promoted |", "|---|---|---|---|---|"]
    for case, rows, noise, power in cells:
        gain = f"{case.better:g}" if case.task == "classification" else f"{case.better:.0%} of the error"
        lines.append(
            f"| {case.name} | {rows} | {_rate(noise, comparisons)} | {gain} | {power.result():.0%} |"
        )
    return "\n".join(lines)


def many_rows(run: Run, comparisons: int) -> str:
    """Return the table of the share of challengers that a rule of superiority promotes on many rows."""
    cells = [
        (name, rows, number, run(name, rows, 0.0, number, 1))
        for name in MANY_ROWS_CASES
        for rows in MANY_ROWS
        for number in [comparisons if rows < MANY_ROWS[-1] else comparisons // 4]
    ]
    lines = ["| models | rows | not better, but promoted |", "|---|---|---|"]
    lines += [f"| {name} | {rows:,} | {_rate(rate, number)} |" for name, rows, number, rate in cells]
    return "\n".join(lines)


def margins(run: Run, comparisons: int) -> str:
    """Return the table of the share of challengers that pass although they are worse by the limit."""
    return _limits(run, comparisons, [(case, rows, case.worse) for case in CASES for rows in case.rows])


def identical(run: Run, comparisons: int) -> str:
    """Return the table of the share of identical challengers that pass on the rows that the limit needs."""
    return _limits(run, comparisons, [(case, case.enough, None) for case in CASES if case.enough])


def _limits(run: Run, comparisons: int, rows_and_gains: Sequence[tuple[Case, int, float | None]]) -> str:
    """Return the table of the share of challengers that pass a margin and a guard."""
    cells = [
        (
            case,
            rows,
            [
                run(case.name, rows, gain, comparisons, 2 + 2 * guard, case.margin, guard)
                for guard in (False, True)
            ],
        )
        for case, rows, gain in rows_and_gains
    ]
    lines = [
        "| models | rows | margin or guard | promoted as non-inferior | passes the guard |",
        "|---|---|---|---|---|",
    ]
    for case, rows, futures in cells:
        rates = " | ".join(_rate(future, comparisons) for future in futures)
        lines.append(f"| {case.name} | {rows} | {case.margin:.3g} | {rates} |")
    return "\n".join(lines)


def share(name: str, *arguments: Any) -> float:
    """Return `share_promoted` of the case of that name. A process cannot receive the case itself."""
    return share_promoted(next(case for case in CASES if case.name == name), *arguments)


def dependent_rows(pool: ProcessPoolExecutor, comparisons: int) -> str:
    """Return the table of the share of challengers that are promoted on a holdout of groups."""
    cells = [
        (
            case.name,
            count,
            pool.submit(groups.simulate, case.name, count, comparisons, 7),
            pool.submit(groups.simulate, case.name, count, comparisons, 8, limit=True),
            pool.submit(groups.simulate, case.name, count, POWER, 7, by_group=False),
        )
        for case in groups.CASES
        for count in groups.COUNTS
    ]
    lines = [
        "| models | groups | not better, but promoted | promoted as non-inferior | rows as independent |",
        "|---|---|---|---|---|",
    ]
    for name, count, better, limit, rows in cells:
        rates = " | ".join(_rate(future, comparisons) for future in (better, limit))
        lines.append(f"| {name} | {count} | {rates} | {rows.result():.0%} |")
    return "\n".join(lines)


def different_populations(pool: ProcessPoolExecutor, nights: int) -> str:
    """Return the table of the share of nights on changed data that promote a model."""
    futures = [
        (
            situation.name,
            pool.submit(populations.simulate, situation.name, POPULATION_ROWS, nights, 5),
            pool.submit(populations.simulate, situation.name, POPULATION_ROWS, POWER, 5, False),
        )
        for situation in populations.SITUATIONS
    ]
    lines = [
        "| change of the data | promoted | rejected as another population | promoted without the check |",
        "|---|---|---|---|",
    ]
    for name, checked, unchecked in futures:
        promoted, rejected = (_text(count / nights, nights) for count in checked.result())
        lines.append(f"| {name} | {promoted} | {rejected} | {unchecked.result()[0] / POWER:.0%} |")
    return "\n".join(lines)


def seasonal_nights(pool: ProcessPoolExecutor, nights: int) -> str:
    """Return the table of the share of nights that a season causes to be rejected as another population."""
    futures = [
        (kind.name, step, rows, pool.submit(seasons.simulate, kind.name, rows, step, nights, 6))
        for kind in seasons.SEASONS
        for step in (1, 7)
        for rows in (250, 1000)
    ]
    lines = [
        "| season | training | rows | rejected as another population | promoted |",
        "|---|---|---|---|---|",
    ]
    for name, step, rows, future in futures:
        rejected, promoted = future.result()
        training = "nightly" if step == 1 else "weekly"
        lines.append(f"| {name} | {training} | {rows} | {_text(rejected / nights, nights)} | {promoted} |")
    return "\n".join(lines)


def _rate(future: Future[float], comparisons: int) -> str:
    return _text(future.result(), comparisons)


def _text(rate: float, comparisons: int) -> str:
    """Return a rate with its 95 % interval (Wilson, 1927)."""
    z = NormalDist().inv_cdf(0.975)
    scale = 1 + z * z / comparisons
    centre = (rate + z * z / (2 * comparisons)) / scale
    half = z * (rate * (1 - rate) / comparisons + (z / (2 * comparisons)) ** 2) ** 0.5 / scale
    return f"{rate:.1%} ({max(0.0, centre - half):.1%} to {min(1.0, centre + half):.1%})"


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
    comparisons = arguments.comparisons
    with ProcessPoolExecutor(initializer=threadpool_limits, initargs=(1,)) as pool:

        def run(*arguments: Any) -> Future[float]:
            return pool.submit(share, *arguments)

        tables = {
            table.__name__: table(run, comparisons) for table in (superiority, many_rows, margins, identical)
        }
        tables |= {
            table.__name__: table(pool, comparisons)
            for table in (dependent_rows, different_populations, seasonal_nights)
        }
    with threadpool_limits(1):
        latency_table = latency(_REPEATS)
    text = TEXT.format(
        comparisons=comparisons,
        power=POWER,
        most_rows_comparisons=comparisons // 4,
        repeats=_REPEATS,
        latency=latency_table,
        **tables,
    )
    print(text)
    if arguments.output:
        page = arguments.output.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        write_text(arguments.output, f"{before}{BEGIN}\n{text}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
