"""Simulated data whose meaning changed in training rows and holdout alike, and the decision of the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from benchmarks import texts
from benchmarks.night import Champion, Model, Night, Rows, Task, first_champion, least_squares, run_night
from continuous_training.evaluation.promotion_rule import POPULATION_BOUNDS, PromotionRule
from workloads.columns import Column

CHAMPIONS = 20
"""The number of champions, each of which is promoted on data of its own."""

Draw = Callable[[np.random.Generator, int], Rows]
"""Draws a number of rows of the usual population."""

REGIONS = np.arange(5)
_RULE = PromotionRule("r2", 0.0, minimum_rows=20)
_PATIENTS = Task(
    "regression",
    _RULE,
    (
        *(Column(name, "number") for name in ("height", "weight", "left", "right")),
        Column("region", "integer", values=tuple(REGIONS.tolist())),
        Column("y", "number"),
    ),
    "y",
    least_squares("height", "weight", "left", "right"),
)


def patients(rng: np.random.Generator, rows: int) -> Rows:
    """Draw body measures of people in five regions. `left` and `right` have the same distribution."""
    region = rng.choice(REGIONS, rows)
    height = rng.normal(170, 10, rows) + 2 * region
    weight = 0.9 * (height - 100) + rng.normal(0, 10, rows)
    left, right = rng.normal(0, 1, (2, rows))
    y = 0.2 * height + 0.5 * weight + 6 * left - 3 * right + rng.normal(0, 5, rows)
    return {"height": height, "weight": weight, "left": left, "right": right, "region": region, "y": y}


_NOTES = replace(_PATIENTS, columns=(*_PATIENTS.columns, Column("note", "text")))
"""Patients with a text, which the model does not read: only the words show a change."""


def notes(rng: np.random.Generator, rows: int, language: int = 0) -> Rows:
    """Draw patients with a text."""
    return {**patients(rng, rows), "note": texts.texts(rng, rows, language=language)}


def _nearest_mean(rows: Rows) -> Model:
    """Train a classifier of images by the nearest mean image."""
    labels = np.unique(rows["label"])
    means = np.stack([rows["image"][rows["label"] == label].mean(axis=0) for label in labels])

    def predict(new: Rows) -> np.ndarray:
        distances = (means**2).sum(axis=1) - 2 * new["image"] @ means.T
        return np.asarray(labels[distances.argmin(axis=1)])

    return predict


_DIGITS = Task(
    "classification",
    PromotionRule("accuracy", 0.6, minimum_rows=20),
    (
        Column("image", "vector", 0, 16, length=64),
        Column("label", "integer", values=tuple(range(10))),
    ),
    "label",
    _nearest_mean,
)


@cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return data.data, data.target


def digits(rng: np.random.Generator, rows: int) -> Rows:
    """Draw images of scikit-learn's digits."""
    images, labels = _images()
    chosen = rng.integers(0, len(labels), rows)
    return {"image": images[chosen], "label": labels[chosen]}


@dataclass(frozen=True)
class Situation:
    """A change of the data: its name, the task, the usual data, and the changed data of a night."""

    name: str
    task: Task
    usual: Draw
    changed: Draw


def _digits(name: str, change: Callable[[Rows], Rows]) -> Situation:
    return Situation(name, _DIGITS, digits, lambda rng, rows: change(digits(rng, rows)))


def _patients(name: str, change: Callable[[Rows], Rows]) -> Situation:
    return Situation(name, _PATIENTS, patients, lambda rng, rows: change(patients(rng, rows)))


def _another_dataset(rng: np.random.Generator, rows: int) -> Rows:
    """Draw rows with the same columns and similar ranges, and another meaning."""
    values = {name: rng.normal(170, 10, rows) for name in ("height", "weight")}
    values |= {name: rng.normal(0, 1, rows) for name in ("left", "right")}
    y = 0.5 * values["height"] - 0.3 * values["weight"] + 8 * values["right"] + rng.normal(20, 5, rows)
    return {**values, "region": rng.choice(REGIONS, rows), "y": y}


def _one_region(rows: Rows) -> Rows:
    selected = rows["region"] == 2
    return {name: values[selected] for name, values in rows.items()}


SITUATIONS = (
    _digits("pictures: ink and paper exchanged", lambda rows: {**rows, "image": 16 - rows["image"]}),
    _digits(
        "pictures transposed",
        lambda rows: {
            **rows,
            "image": rows["image"].reshape(-1, 8, 8).transpose(0, 2, 1).reshape(-1, 64),
        },
    ),
    _digits("labels shifted by one class", lambda rows: {**rows, "label": (rows["label"] + 1) % 10}),
    _patients("labels shifted by one row", lambda rows: {**rows, "y": np.roll(rows["y"], 1)}),
    _patients(
        "two columns swapped", lambda rows: {**rows, "height": rows["weight"], "weight": rows["height"]}
    ),
    _patients(
        "two columns of the same distribution swapped",
        lambda rows: {**rows, "left": rows["right"], "right": rows["left"]},
    ),
    _patients("a column in mm instead of cm", lambda rows: {**rows, "height": 10 * rows["height"]}),
    _patients("the label in lb instead of kg", lambda rows: {**rows, "y": 2.2046 * rows["y"]}),
    Situation("another dataset with the same columns", _PATIENTS, patients, _another_dataset),
    Situation(
        "texts in another language with the same letters",
        _NOTES,
        notes,
        lambda rng, rows: notes(rng, rows, language=1),
    ),
    Situation(
        "only one of five regions, with the usual number of rows",
        _PATIENTS,
        patients,
        lambda rng, rows: _one_region(patients(rng, 5 * rows)),
    ),
    _patients("only one of five regions", _one_region),
    Situation("a tenth of the rows", _PATIENTS, patients, lambda rng, rows: patients(rng, rows // 10)),
)


def simulate(name: str, rows: int, nights: int, seed: int, bounds: bool = True) -> tuple[int, int]:
    """Return the numbers of nights that promote a model, and that are rejected as another population.

    Without `bounds`, the rule has no bounds of the population.
    """
    situation = next(situation for situation in SITUATIONS if situation.name == name)
    task = situation.task
    if not bounds:
        none: dict[str, Any] = dict.fromkeys(POPULATION_BOUNDS)
        task = replace(task, rule=replace(task.rule, **none))
    rng = np.random.default_rng([seed, rows])
    champions: list[Champion] = [first_champion(task, situation.usual(rng, rows)) for _ in range(CHAMPIONS)]
    results: list[Night] = [
        run_night(task, champions[number % CHAMPIONS], situation.changed(rng, rows))
        for number in range(nights)
    ]
    return sum(night.promoted is not None for night in results), sum(bool(n.exceeded) for n in results)
