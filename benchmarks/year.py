"""A year of nights: the model that the pipeline serves each day, compared with that of an oracle.

    python -m benchmarks.year --output docs/gate.md      about a minute on two cores

Each night, an export of the day's rows arrives, a model is trained, and the checks of prep-data and the gate
decide. The class of a row depends on its columns, and this relation moves with the season and drifts, so that
a model becomes worse every day. On some days, the export is wrong. The oracle has the same models, knows
their scores on the day's population, and serves the better one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.night import HOLDOUT, Model, Rows, Task, first_champion, run_night, split
from components.prep_data.overlap import SplitOverlap
from components.split_sides import HOLDOUT as HELD_OUT
from components.split_sides import TRAIN
from continuous_training.core.files import write_text
from continuous_training.evaluation.metrics import find_metric, score
from continuous_training.evaluation.promotion_rule import POPULATION_BOUNDS, PromotionRule
from workloads.columns import Column
from workloads.contract import Workload

DAYS = 365
ROWS = 2_500
MARGIN = 0.05
YEARS = 40
POPULATION_ROWS = 20_000
"""Rows of a day's population on which the true scores are computed."""

BEGIN, END = "<!-- begin: python -m benchmarks.year -->", "<!-- end: python -m benchmarks.year -->"
CLASSES = (0, 1, 2)
_CENTRES = np.array([[0.0, 2.0], [-1.8, -1.0], [1.8, -1.0]])


def draw(rng: np.random.Generator, day: int, rows: int) -> Rows:
    """Draw rows of a day: two columns around the centre of their class."""
    season = np.sin(2 * np.pi * day / DAYS) + 0.1 * day * 12 / DAYS
    label = rng.choice(CLASSES, rows)
    # The season moves one class only, so that the boundary between the classes moves.
    moved = _CENTRES + np.array([[season, 0.0], [0.0, 0.0], [0.0, 0.0]])
    points = moved[label] + rng.normal(size=(rows, 2))
    return {"a": points[:, 0], "b": points[:, 1], "label": label}


def train(rows: Rows) -> Model:
    """Train a classifier by the nearest mean of a class."""
    labels = np.unique(rows["label"])
    points = np.column_stack([rows["a"], rows["b"]])
    means = np.stack([points[rows["label"] == label].mean(axis=0) for label in labels])

    def predict(new: Rows) -> np.ndarray:
        points = np.column_stack([new["a"], new["b"]])
        return np.asarray(labels[((points[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)])

    return predict


TASK = Task(
    "classification",
    PromotionRule("accuracy", 0.5, margin=MARGIN, superiority=False, minimum_rows=200),
    (Column("a", "number"), Column("b", "number"), Column("label", "integer", values=CLASSES)),
    "label",
    train,
)


def _first(rows: Rows, count: int) -> Rows:
    return {name: values[:count] for name, values in rows.items()}


def _duplicated(rows: Rows) -> Rows:
    order = np.random.default_rng(0).permutation(2 * len(rows["label"]))
    return {name: np.concatenate([values, values])[order] for name, values in rows.items()}


EVENTS: dict[str, tuple[range, Callable[[Rows], Rows]]] = {
    "an export with a tenth of the rows": (range(60, 63), lambda rows: _first(rows, ROWS // 10)),
    "two columns swapped": (range(120, 123), lambda rows: {**rows, "a": rows["b"], "b": rows["a"]}),
    "a file twice, under other keys": (range(180, 183), _duplicated),
    "a class that disappears": (
        range(240, 243),
        lambda rows: {name: values[rows["label"] != 2] for name, values in rows.items()},
    ),
    "a column in another unit": (range(300, 303), lambda rows: {**rows, "a": 10 * rows["a"]}),
}
"""The days on which the export is wrong, and the change that makes it wrong."""


def rejected_by_prep_data(rows: Rows) -> bool:
    """Return whether prep-data rejects the rows: a class is missing, or the sides of the split overlap."""
    splits = split(rows)
    if any(set(CLASSES) - set(side["label"].tolist()) for side in splits):
        return True
    count = len(rows["label"]) // HOLDOUT
    table: Any = SimpleNamespace(key="", target="label", columns=TASK.columns)
    overlap = SplitOverlap(table)
    batch = pa.record_batch({name: pa.array(values) for name, values in rows.items()})
    overlap.add(batch, np.where(np.arange(len(rows["label"])) < count, HELD_OUT, TRAIN))
    return len(overlap.exact()) > Workload.overlap_share * count


@dataclass(frozen=True)
class Year:
    """The result of a year.

    `losses` are the differences between the accuracy of the oracle's model and that of the served one, by
    day. `delays` are the days until a model that the oracle serves, or a newer one, is served. `stopped`
    counts the nights with a wrong export on which nothing was promoted, and `usual_stopped` the others.
    """

    losses: np.ndarray
    delays: np.ndarray
    stopped: int
    usual_stopped: int


def simulate(seed: int, checked: bool = True) -> Year:
    """Simulate one year, with or without the checks of prep-data and of the population."""
    rng, task = np.random.default_rng(seed), TASK
    if not checked:
        unlimited: dict[str, Any] = dict.fromkeys(POPULATION_BOUNDS)
        task = replace(TASK, rule=replace(TASK.rule, **unlimited))
    champion = first_champion(task, draw(rng, 0, ROWS))
    oracle, served_day, waiting = champion.model, 0, set[int]()
    losses, delays, stopped, usual_stopped = [], [], 0, 0
    for day in range(1, DAYS):
        rows = draw(rng, day, ROWS)
        change = next((change for days, change in EVENTS.values() if day in days), None)
        if change is not None:
            rows = change(rows)
        night = None if checked and rejected_by_prep_data(rows) else run_night(task, champion, rows)
        if night is not None and night.promoted is not None:
            champion, served_day = night.promoted, day
        elif change is not None:
            stopped += 1
        else:
            usual_stopped += 1
        population = draw(rng, day, POPULATION_ROWS)
        challenger = train(split(rows)[0])
        if _accuracy(challenger, population) > _accuracy(oracle, population):
            oracle = challenger
            waiting.add(day)
        losses.append(_accuracy(oracle, population) - _accuracy(champion.model, population))
        delays += [day - model_day for model_day in waiting if model_day <= served_day]
        waiting = {model_day for model_day in waiting if model_day > served_day}
    delays += [DAYS - model_day for model_day in waiting]
    return Year(np.array(losses), np.array(delays), stopped, usual_stopped)


def _accuracy(model: Model, rows: Rows) -> float:
    return score(find_metric("classification", "accuracy"), rows["label"], model(rows))


def table(years: list[Year], unchecked: list[Year]) -> Iterator[str]:
    """Yield the lines of the table."""
    losses = np.concatenate([year.losses for year in years])
    delays = np.concatenate([year.delays for year in years])
    wrong_nights = sum(len(days) for days, _ in EVENTS.values()) * len(years)
    usual = (DAYS - 1) * len(years) - wrong_nights
    yield "| | |"
    yield "|---|---|"
    yield f"| simulated years, days | {len(years)}, {len(losses):,} |"
    promoted = wrong_nights - sum(year.stopped for year in years)
    yield f"| nights with a wrong export; a model was promoted | {wrong_nights}; {promoted} |"
    share = sum(year.usual_stopped for year in years) / usual
    yield f"| other nights; nothing was promoted | {usual:,}; {share:.2%} |"
    yield f"| greatest and mean loss against the oracle's model | {losses.max():.4f}, {losses.mean():.4f} |"
    yield f"| days with a loss above the margin of {MARGIN:g} | {int((losses > MARGIN).sum())} |"
    above = np.mean([(year.losses > MARGIN).sum() for year in unchecked])
    yield f"| the same per year without the data checks ({len(unchecked)} years) | {above:.1f} |"
    delayed = int((delays > 3).sum())
    yield f"| models that the oracle serves; served more than three days later | {len(delays):,}; {delayed} |"
    yield f"| longest delay in days | {int(delays.max())} |"


def main(argv: list[str] | None = None) -> None:
    """Print the table, or write it to a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=YEARS)
    parser.add_argument("--output", type=Path, help="the document to write the table to")
    arguments = parser.parse_args(argv)
    with ProcessPoolExecutor() as pool:
        years = list(pool.map(simulate, range(arguments.years)))
        unchecked = list(pool.map(partial(simulate, checked=False), range(max(2, arguments.years // 10))))
    text = "\n".join(table(years, unchecked))
    print(text)
    if arguments.output:
        page = arguments.output.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        write_text(arguments.output, f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
