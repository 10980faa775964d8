"""diabetes through the pipeline: scikit-learn's example to the digit, and all features better than one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import Taken, measured
from benchmarks.reference_implementations import SPLITS
from benchmarks.splits import out_of_fold, rows_of
from continuous_training.evaluation.metrics import METRICS, paired_improvement
from continuous_training.serving.process import daemon
from workloads.diabetes.workload import Diabetes

from .pipeline import Run, run
from .table import Line, Table, interval

FOLDS = 10

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def plain() -> Taken:
    """A line over the body mass index, by scikit-learn alone."""
    return measured("benchmarks.reference_implementations", "diabetes")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The pipeline as scikit-learn's example has it: one feature, the last 20 patients held out."""
    state = tmp_path_factory.mktemp("example")
    yield run("diabetes", state, features="bmi", split="example")
    daemon.stop(state)


def test_scikit_learns_example_to_the_digit(example: Run, plain: Taken, table: Table) -> None:
    mse, r2 = (example.result["metrics"][name] for name in ("mse", "r2"))
    told, title = plain.told, "scikit-learn's example"
    table.add(
        Line(
            "MSE of bmi alone, the last 20 patients",
            interval(mse, 2),
            "2548.07",
            example.taken,
            title,
            f"{told['example mse']:.2f}",
            plain,
        ),
        Line("R² of the same", interval(r2, 2), "0.47", None, title, f"{told['example r2']:.2f}"),
    )
    assert (round(mse["value"], 2), round(r2["value"], 2)) == (2548.07, 0.47)
    assert mse["value"] == pytest.approx(told["example mse"], rel=1e-9)
    assert r2["value"] == pytest.approx(told["example r2"], rel=1e-9)


def test_all_features_are_better_than_one(state: Path, plain: Taken, table: Table) -> None:
    """On 88 patients the interval holds zero; over all 442, each held out once, it does not."""
    whole, workload = run("diabetes", state), Diabetes()
    rows = rows_of(workload, workload.parse({}))
    one, every = (
        out_of_fold(workload, workload.parse({"features": features}), rows, FOLDS, seed=0)
        for features in ("bmi", "all")
    )
    r2 = METRICS["regression"][0]
    gain = paired_improvement(r2, rows["progression"].to_numpy(), every, one, seed=0)
    table.add(
        Line(
            "R² of all features, 88 patients",
            interval(whole.result["metrics"]["r2"], 3),
            "≥ 0.200 (its floor)",
            whole.taken,
            f"bmi alone, {SPLITS} random splits",
            f"{plain.told['r2']:.3f}",
            plain,
        ),
        Line(f"all against bmi, R² of {FOLDS} folds, paired", interval(gain, 3), "interval above 0"),
    )
    assert whole.dataset.read("holdout").num_rows == 88
    assert whole.result["metrics"]["r2"]["value"] > plain.told["r2"]
    assert gain.low > 0
