"""One simulated night: column statistics, the population check and the gate, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.simulated import promoted
from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.evaluation.bootstrap import metric_interval
from continuous_training.evaluation.metrics import find_metric, score
from continuous_training.evaluation.population import ObservedData, population_change
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from workloads.columns import Column

SEED = 0
HOLDOUT = 5
"""One of this number of rows is held out."""

Rows = Mapping[str, np.ndarray]
"""An array for each column of a dataset; one of them is the label."""

Model = Callable[[Rows], np.ndarray]
"""Predicts the label of each row."""


@dataclass(frozen=True)
class Task:
    """What a workload declares: task, rule, columns, label, and the training of a model."""

    task: str
    rule: PromotionRule
    columns: tuple[Column, ...]
    label: str
    train: Callable[[Rows], Model]


@dataclass(frozen=True)
class Champion:
    """A served model, with the data that it was promoted on."""

    model: Model
    data: ObservedData


@dataclass(frozen=True)
class Night:
    """The result of a night: the bounds that were exceeded, and the new champion if one was promoted."""

    exceeded: tuple[str, ...]
    promoted: Champion | None


def first_champion(task: Task, rows: Rows) -> Champion:
    """Return the model that is promoted without a champion to compare it with."""
    train, holdout = split(rows)
    model = task.train(train)
    return Champion(model, _observe(task, train, holdout, model(holdout)))


def run_night(task: Task, champion: Champion, rows: Rows) -> Night:
    """Train on the rows, and decide as the gate does."""
    train, holdout = split(rows)
    served = champion.model(holdout)
    today = _observe(task, train, holdout, served)
    change = population_change(task.rule, "1", champion.data, today, task.label)
    if change.exceeded:
        return Night(change.exceeded, None)
    model = task.train(train)
    predictions, metric = model(holdout), find_metric(task.task, task.rule.metric)
    value = score(metric, holdout[task.label], predictions)
    reaches = value >= task.rule.floor if metric.higher_is_better else value <= task.rule.floor
    if not (reaches and promoted(task.rule, task.task, (holdout[task.label], predictions, served))):
        return Night((), None)
    return Night((), Champion(model, _observe(task, train, holdout, predictions)))


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Return training rows and holdout of rows in random order."""
    count = len(next(iter(rows.values()))) // HOLDOUT
    return ({n: v[count:] for n, v in rows.items()}, {n: v[:count] for n, v in rows.items()})


def _observe(task: Task, train: Rows, holdout: Rows, predictions: np.ndarray) -> ObservedData:
    metric, actual = find_metric(task.task, task.rule.metric), holdout[task.label]
    return ObservedData(
        train_rows=len(train[task.label]),
        holdout_rows=len(actual),
        statistics=column_statistics(task.columns, train),
        score=metric_interval(metric, actual, predictions, SEED),
    )


def column_statistics(columns: tuple[Column, ...], rows: Rows) -> dict[str, ColumnStatistics]:
    """Return the statistics that prep-data stores for these rows."""
    accumulator = StatisticsAccumulator(columns)
    arrays = [
        pa.FixedSizeListArray.from_arrays(pa.array(rows[column.name].ravel()), column.length)
        if column.kind == "vector"
        else pa.array(rows[column.name])
        for column in columns
    ]
    accumulator.add(pa.record_batch(arrays, names=[column.name for column in columns]))
    return accumulator.result()


def least_squares(*features: str, label: str = "y") -> Callable[[Rows], Model]:
    """Return the training of a linear regression on these columns."""

    def matrix(rows: Rows) -> np.ndarray:
        columns = [rows[name] for name in features]
        return np.column_stack([*columns, np.ones(len(columns[0]))])

    def train(rows: Rows) -> Model:
        weights = np.linalg.lstsq(matrix(rows), rows[label], rcond=None)[0]
        return lambda new: np.asarray(matrix(new) @ weights)

    return train
