"""What a report is made of: everything that a run found out, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its 95 % interval; NaN where one could not be computed."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Mistake:
    """A row that was taken for something else: `picture` is uint8 [height, width] or [height, width, 3].

    `champion` is what the champion took it for; `certainty` how sure the challenger was, more is surer.
    """

    key: str
    actual: str
    predicted: str
    champion: str | None
    certainty: float | None
    picture: np.ndarray


@dataclass(frozen=True)
class Facts:
    """Everything that the report of one run tells.

    `metrics` holds the challenger's on the holdout, the primary one first. `champion` has `version`,
    `digest` and `metrics`, and is None for a first model. `difference` is challenger minus champion on the
    primary metric, signed so that positive is better. `slices` maps a name to `rows`, `value`, `champion`,
    and the ends of the value's interval, `low` and `high`. `curve` is a dict a step. `dataset` is the run's
    dataset.json; `champion_statistics` are those of the rows that the champion was trained on, in the form
    of `dataset["splits"]["train"]["statistics"]`. `actual`, `predicted` and `champion_predicted` hold one
    entry for each row of the holdout, in its order. `target` names the predicted column, for the axes.
    `feature` is the name and the values (in the same order) of the one column that the model looks at,
    where there is just one. `mistakes` are the worst ones, the worst first, where rows are pictures.
    `registry_run` is the id of the run in MLflow.
    """

    workload: str
    summary: str
    task: str
    run: str
    verdict: str
    reasons: list[str]
    rule: dict[str, Any]
    parameters: dict[str, Any]
    metrics: dict[str, Interval]
    champion: dict[str, Any] | None
    difference: Interval | None
    slices: dict[str, dict[str, Any]]
    curve: list[dict[str, float]]
    notes: dict[str, Any]
    dataset: dict[str, Any]
    champion_statistics: dict[str, Any] | None
    actual: np.ndarray
    predicted: np.ndarray
    champion_predicted: np.ndarray | None
    target: str = ""
    feature: tuple[str, np.ndarray] | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    registry_run: str = ""

    @property
    def primary(self) -> str:
        """The name of the metric that decides; empty when nothing was measured."""
        named = self.rule.get("metric")
        return named if named in self.metrics else next(iter(self.metrics), "")

    @property
    def champion_metrics(self) -> dict[str, Interval]:
        """The champion's metrics; empty for a first model."""
        return (self.champion or {}).get("metrics") or {}
