"""The data that the report and the model card are generated from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from continuous_training.artifacts.bad_rows import BadRow
from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.dataset_manifest import DatasetManifest
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.core.json_object import Json
from continuous_training.evaluation.check import Check
from continuous_training.evaluation.metrics import Interval
from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.worst_errors import Misclassification
from continuous_training.report.formatting import short


@dataclass(frozen=True)
class ReportData:
    """The evaluation of one run, with the data that its plots and tables need.

    `checks` are the gate's. `curve` has one entry per step of the learning curve, and `notes` are those of
    the training. `champion_statistics` are the column statistics of
    the champion's training rows, if known. `label_column` names the axes of a regression. `feature` is the
    name and the values of the only column that the model uses, if there is only one. `errors` are the worst
    misclassifications of images, the worst first. `bad_rows` are the first rows that prep-data set aside.
    `predictions` and `feature` have one in `row_step` rows of the holdout.
    """

    evaluation: Evaluation
    checks: Sequence[Check]
    task: str
    summary: str
    predictions: Predictions
    curve: Sequence[Mapping[str, float]]
    notes: Json
    dataset: DatasetManifest
    champion_statistics: Mapping[str, ColumnStatistics] | None
    label_column: str = ""
    feature: tuple[str, np.ndarray] | None = None
    errors: Sequence[Misclassification] = field(default_factory=tuple)
    bad_rows: Sequence[BadRow] = ()
    row_step: int = 1

    @property
    def primary(self) -> str:
        """The primary metric; the first metric if the rule names another one, and empty without metrics."""
        metric, metrics = self.evaluation.rule.get("metric"), self.evaluation.metrics
        return metric if isinstance(metric, str) and metric in metrics else next(iter(metrics), "")

    @property
    def champion_metrics(self) -> Mapping[str, Interval]:
        """The champion's metrics; empty for a first model."""
        return self.evaluation.champion.metrics if self.evaluation.champion else {}

    @property
    def champion_name(self) -> str:
        """The champion with its version, for headings and labels."""
        version = self.evaluation.champion.version if self.evaluation.champion else ""
        return f"champion v{short(version, 8)}" if version else "champion"
