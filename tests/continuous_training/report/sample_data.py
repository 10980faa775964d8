"""Data of reports for tests: a classification and a regression, with a champion or without."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from continuous_training.artifacts.column_statistics import ColumnStatistics, Histogram
from continuous_training.artifacts.dataset_manifest import ColumnDescription, DatasetManifest, SplitManifest
from continuous_training.artifacts.evaluation import (
    Bootstrap,
    EvaluatedChampion,
    EvaluatedData,
    Evaluation,
    TrackingRun,
)
from continuous_training.artifacts.measurements import SliceMetric
from continuous_training.evaluation.check import Check
from continuous_training.evaluation.drift import column_drift
from continuous_training.evaluation.metrics import Interval
from continuous_training.evaluation.predictions import Predictions
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.report.report_data import ReportData

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"y\"> {{ 7 * 7 }} {% if %} $x^2$ & \x00 \ud800 日本"
"""Text with a meaning in HTML, in Jinja and in formulas, and characters that HTML does not allow."""

_EVALUATION_FIELDS = {field.name for field in fields(Evaluation)}


def numbers(rows: int, histogram: list[int], mean: float = 5.0) -> ColumnStatistics:
    """Return the statistics of a column of numbers from 0 to 10."""
    edges = np.linspace(0, 10, len(histogram) + 1).tolist()
    return ColumnStatistics(
        "number", rows, mean=mean, std=1.5, minimum=0.0, maximum=10.0,
        histogram=Histogram(tuple(edges), tuple(histogram)),
    )  # fmt: skip


def labels(rows: int, *counts: int) -> ColumnStatistics:
    """Return the statistics of a column of categories."""
    return ColumnStatistics("integer", rows, {str(i): count for i, count in enumerate(counts)})


def dataset(**columns: ColumnStatistics) -> DatasetManifest:
    """Return the manifest of a dataset with these column statistics in both splits."""
    return DatasetManifest(
        workload="toy",
        source="s3://bucket/rows-*.csv",
        schema=(ColumnDescription("size", "number", "metres"),),
        split_rule="sha256(id) / 2^256 < 0.2",
        fingerprint="whole-print",
        train=SplitManifest(1200, "train-print", columns),
        holdout=SplitManifest(300, "holdout-print", columns),
        sample=False,
        as_of="2026-03-01T06:00:00Z",
        parameters={},
        input_digest="input-digest",
    )


def empty_dataset() -> DatasetManifest:
    """Return the manifest of a dataset without texts and statistics."""
    nothing = SplitManifest(0, "", {})
    return replace(
        dataset(),
        source="",
        schema=(),
        split_rule="",
        fingerprint="",
        as_of="",
        train=nothing,
        holdout=nothing,
    )


def changed(data: ReportData, **changes: Any) -> ReportData:
    """Return the data with changed fields, including fields of the evaluation and the predictions.

    The drift follows the dataset and the champion's statistics.
    """
    evaluation = {name: changes.pop(name) for name in _EVALUATION_FIELDS & changes.keys()}
    predictions: dict[str, Any] = {
        name: changes.pop(name) for name in ("actual", "challenger") if name in changes
    }
    if "champion_predictions" in changes:
        predictions["champion"] = changes.pop("champion_predictions")
    data = replace(data, **changes)
    has_champion = evaluation.get("champion", data.evaluation.champion) is not None
    old = (data.champion_statistics or {}) if has_champion else {}
    evaluation.setdefault("drift", tuple(column_drift(data.dataset.train.statistics, old)))
    return replace(
        data,
        evaluation=replace(data.evaluation, **evaluation),
        predictions=replace(data.predictions, **predictions),
    )


def first(data: ReportData) -> ReportData:
    """Return the data of a first model: without a champion."""
    slices = {name: replace(part, champion=None) for name, part in data.evaluation.slices.items()}
    return changed(
        data,
        slices=slices,
        champion=None,
        difference=None,
        champion_statistics=None,
        champion_predictions=None,
    )


def classification(**changes: Any) -> ReportData:
    """Return the data of a promoted classifier of 300 holdout rows."""
    rng = np.random.default_rng(0)
    actual = rng.integers(0, 4, 300)
    challenger, champion = (
        np.where(rng.random(300) < accuracy, actual, (actual + 1) % 4) for accuracy in (0.97, 0.9)
    )
    rule = PromotionRule("accuracy", 0.95, minimum_rows=200, slice_floor=0.85, slice_rows=20)
    evaluation = Evaluation(
        workload="toy",
        run="toy-20260301",
        verdict="promoted",
        reasons=("accuracy is better by 7 points",),
        rule=rule.to_json(),
        metrics={"accuracy": Interval(0.973, 0.952, 0.986)},
        champion=EvaluatedChampion("3", "9f2d81c4", {"accuracy": Interval(0.903, 0.87, 0.93)}),
        difference=Interval(0.07, 0.043, 0.098),
        guards={},
        test=None,
        mcnemar_p=0.001,
        cost=None,
        champion_cost=None,
        bootstrap=Bootstrap(0.95, 2000, 0),
        slices={
            "class 0": SliceMetric(70, 0.96, 0.91, 0.914, 1.0),
            "class 1": SliceMetric(80, 0.99),
        },
        rows=300,
        input_digest="input-digest",
        model_digest="model-digest",
        parameters={"components": 32, "test_size": 0.2, "source": "", "force": False},
        data=EvaluatedData("whole-print", "s3://bucket/rows-*.csv", "2026-03-01T06:00:00Z", "rule", False),
        code="code-digest",
        registry=TrackingRun("", ""),
    )
    data = ReportData(
        evaluation=evaluation,
        checks=(
            Check("accuracy", "0.973 on 300 holdout rows", "at least 0.95", True),
            Check("holdout rows", "300", "at least 200", True),
        ),
        task="classification",
        summary="tells four things apart",
        predictions=Predictions(actual, challenger, champion),
        curve=[{"step": 1, "error": 0.2}, {"step": 2, "error": 0.1}],
        notes={"indexed": 1200},
        dataset=dataset(size=numbers(1200, [300, 600, 300]), label=labels(1200, 300, 300, 300, 300)),
        champion_statistics={
            "size": numbers(900, [300, 300, 300], 4.2),
            "label": labels(900, 225, 225, 225, 225),
        },
    )
    return changed(data, **changes)


def regression(**changes: Any) -> ReportData:
    """Return the data of a rejected regression of 88 holdout rows."""
    rng = np.random.default_rng(1)
    actual = rng.normal(150, 70, 88)
    champion = {"r2": Interval(0.45, 0.24, 0.58), "rmse": Interval(55.4, 47.3, 64.2)}
    rule = PromotionRule("r2", 0.2, margin=0.02, superiority=False, minimum_rows=20)
    data = changed(
        classification(),
        task="regression",
        verdict="rejected",
        reasons=("r2 against champion 12: -0.1; required: not worse by more than 0.02",),
        rule=rule.to_json(),
        metrics={"r2": Interval(0.47, 0.28, 0.61), "rmse": Interval(54.3, 46.0, 63.1)},
        champion=EvaluatedChampion("12", "51ab", champion),
        difference=Interval(0.021, -0.006, 0.054),
        checks=(Check("r2 against champion 12", "-0.1", "not worse by more than 0.02", False),),
        slices={},
        curve=[],
        notes={"intercept": -334.6, "slopes": {"age": -0.036, "bmi": 5.6}},
        actual=actual,
        challenger=actual + rng.normal(0, 40, 88),
        champion_predictions=actual + rng.normal(0, 50, 88),
        label_column="progression",
    )
    return changed(data, **changes)
