"""mnist at full size through the pipeline, and predictions for the original test pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import run_measured
from continuous_training.evaluation.bootstrap import metric_interval
from continuous_training.evaluation.metrics import METRICS
from workloads.mnist.workload import Mnist

from .pipeline import DATA, Run, batches, predict, run
from .table import Line, Table, interval

SOURCE = DATA / "mnist"
BATCH = 500

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not SOURCE.is_dir(), reason="no ../shared/data/mnist next to the checkout"),
]


@pytest.fixture(scope="module")
def trained(state: Path) -> Run:
    """The pipeline on the original 60,000 and 10,000 pictures."""
    pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
    return run("mnist", state, source=SOURCE)


def test_the_accuracy_on_the_original_test_pictures(trained: Run, table: Table) -> None:
    rows = trained.dataset.rows("train").num_rows
    holdout = trained.dataset.read("holdout")
    pictures, labels = Mnist().pictures(holdout).tolist(), holdout["label"].to_numpy()
    answers = [
        prediction
        for batch in batches(pictures, BATCH)
        for prediction in predict(trained, {"images": batch})["predictions"]
    ]
    training_labels = trained.dataset.read("train")["label"].to_numpy()
    vote = np.array([prediction["label"] for prediction in answers])
    nearest = training_labels[[prediction["neighbours"][0] for prediction in answers]]
    accuracy = METRICS["classification"][0]
    reference = run_measured("benchmarks.reference_implementations", "mnist", str(SOURCE))
    voted, near = (metric_interval(accuracy, labels, predictions, 0) for predictions in (vote, nearest))
    table.add(
        Line(
            "accuracy, vote of ten neighbours",
            interval(voted),
            "≥ 0.9960",
            trained.process,
            "nearest neighbour on pixels",
            f"{reference.output['accuracy']:.4f}",
            reference,
        ),
        Line("accuracy, nearest neighbour", interval(near), "≥ 0.9940"),
        Line("duration of the step train", f"{trained.result['seconds']['train']:.0f} s", "none"),
    )
    assert (rows, len(labels)) == (60_000, 10_000)
    assert voted.value == pytest.approx(trained.result["metrics"]["accuracy"]["value"], abs=2e-4)
    assert voted.value >= 0.996
    assert near.value >= 0.994
    assert min((vote == labels)[labels == digit].mean() for digit in range(10)) >= 0.99
    assert near.low > reference.output["accuracy"]
