"""diabetes through the pipeline: the exact values of scikit-learn's example, and the gain of all features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import ProcessResult, run_measured
from benchmarks.reference_implementations import SPLITS
from benchmarks.splits import out_of_fold, rows_of
from continuous_training.evaluation.bootstrap import paired_improvement
from continuous_training.evaluation.metrics import METRICS
from continuous_training.serving.process import daemon
from workloads.diabetes.workload import Diabetes

from .pipeline import Run, run
from .table import Line, Table, interval

FOLDS = 10

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def reference() -> ProcessResult:
    """The reference implementation: a linear regression on the body mass index."""
    return run_measured("benchmarks.reference_implementations", "diabetes")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with the settings of scikit-learn's example: one feature, and the last 20 patients as holdout."""
    state = tmp_path_factory.mktemp("example")
    yield run("diabetes", state, features="bmi", split="example")
    daemon.stop(state)


def test_the_metrics_equal_scikit_learns_example(
    example: Run, reference: ProcessResult, table: Table
) -> None:
    mse, r2 = (example.result["metrics"][name] for name in ("mse", "r2"))
    metrics, title = reference.output, "scikit-learn's example"
    table.add(
        Line(
            "MSE of bmi alone, the last 20 patients",
            interval(mse, 2),
            "2548.07",
            example.process,
            title,
            f"{metrics['example mse']:.2f}",
            reference,
        ),
        Line("R² of the same", interval(r2, 2), "0.47", None, title, f"{metrics['example r2']:.2f}"),
    )
    assert (round(mse["value"], 2), round(r2["value"], 2)) == (2548.07, 0.47)
    assert mse["value"] == pytest.approx(metrics["example mse"], rel=1e-9)
    assert r2["value"] == pytest.approx(metrics["example r2"], rel=1e-9)


def test_all_features_are_better_than_one(state: Path, reference: ProcessResult, table: Table) -> None:
    """The interval contains zero for 88 patients, but not for the cross-validation over all 442."""
    pipeline_run, workload = run("diabetes", state), Diabetes()
    rows = rows_of(workload, workload.parse({}))
    bmi_only, all_features = (
        out_of_fold(workload, workload.parse({"features": features}), rows, FOLDS, seed=0)
        for features in ("bmi", "all")
    )
    r2 = METRICS["regression"][0]
    gain = paired_improvement(r2, rows["progression"].to_numpy(), all_features, bmi_only, seed=0)
    table.add(
        Line(
            "R² of all features, 88 patients",
            interval(pipeline_run.result["metrics"]["r2"], 3),
            "≥ 0.200 (its floor)",
            pipeline_run.process,
            f"bmi alone, {SPLITS} random splits",
            f"{reference.output['r2']:.3f}",
            reference,
        ),
        Line(
            f"gain in R² of all features over bmi, {FOLDS} folds, paired",
            interval(gain, 3),
            "interval above 0",
        ),
    )
    assert pipeline_run.dataset.read("holdout").num_rows == 88
    assert pipeline_run.result["metrics"]["r2"]["value"] > reference.output["r2"]
    assert gain.low > 0
