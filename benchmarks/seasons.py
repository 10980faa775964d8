"""Simulated years with a season and a trend, and how many nights are rejected as another population."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks import texts
from benchmarks.night import Champion, Rows, Task, first_champion, least_squares, run_night
from continuous_training.evaluation.promotion_rule import PromotionRule
from workloads.columns import Column

DAYS = 365
AMPLITUDE, TREND = 1.0, 0.1
"""A yearly sine, in standard deviations, and a trend in standard deviations per month."""

_TASK = Task(
    "regression",
    PromotionRule("r2", -1e9, minimum_rows=20),
    (Column("x", "number"), Column("z", "number"), Column("y", "number"), Column("text", "text")),
    "y",
    least_squares("x", "z"),
)


@dataclass(frozen=True)
class Season:
    """What the season moves: a column and the words of a text, or the relation between columns and label.

    With `moves_label`, the label moves by its own standard deviation and no column shows the season, so that
    the champion becomes worse every day and is replaced. Otherwise the column `x` moves and the champion's
    weights remain correct: it is never replaced. The feature that decides the topic of a text moves, too.
    """

    name: str
    moves_label: bool


SEASONS = (
    Season("a column and the topics of a text move, the champion stays for the year", False),
    Season("the label moves, the champion is replaced", True),
)


def season(day: float) -> float:
    """Return the offset of the season on this day, in standard deviations."""
    return float(AMPLITUDE * np.sin(2 * np.pi * day / DAYS) + TREND * day * 12 / DAYS)


def draw(kind: Season, rng: np.random.Generator, day: float, rows: int) -> Rows:
    """Draw the rows of a day."""
    x, z, noise = rng.normal(size=(3, rows))
    offset = season(day)
    if kind.moves_label:
        return {"x": x, "z": z, "y": x + z + noise + np.sqrt(3) * offset, "text": texts.texts(rng, rows)}
    text = texts.texts(rng, rows, offset)
    return {"x": x + offset, "z": z, "y": x + offset + z + noise, "text": text}


def simulate(name: str, rows: int, step: int, nights: int, seed: int) -> tuple[int, int]:
    """Return the numbers of nights that are rejected as another population, and that promote a model.

    A training takes place every `step` days. After a year, another one starts on a random day.
    """
    kind = next(kind for kind in SEASONS if kind.name == name)
    rng = np.random.default_rng([seed, rows, step])
    rejected = promoted = total = 0
    while total < nights:
        start = int(rng.integers(DAYS))
        champion: Champion = first_champion(_TASK, draw(kind, rng, start, rows))
        for day in range(start + step, start + DAYS, step):
            night = run_night(_TASK, champion, draw(kind, rng, day, rows))
            champion = night.promoted or champion
            rejected, promoted, total = (
                rejected + bool(night.exceeded),
                promoted + (night.promoted is not None),
                total + 1,
            )
            if total == nights:
                break
    return rejected, promoted
