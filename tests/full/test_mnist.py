"""mnist at full size through the pipeline, and the original test pictures asked of its endpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import measured
from continuous_training.evaluation.metrics import METRICS, metric_interval
from workloads.mnist.workload import Mnist

from .pipeline import DATA, Run, ask, in_parts, run
from .table import Line, Table

SOURCE = DATA / "mnist"
TOGETHER = 500

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not SOURCE.is_dir(), reason="no ../shared/data/mnist beside the checkout"),
]


@pytest.fixture(scope="module")
def trained(state: Path) -> Run:
    """The pipeline on the original 60,000 and 10,000 pictures."""
    pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
    return run("mnist", state, source=SOURCE)


def test_the_original_test_pictures_are_told_apart(trained: Run, table: Table) -> None:
    rows = trained.dataset.rows("train").num_rows
    holdout = trained.dataset.read("holdout")
    pictures, labels = Mnist().pictures(holdout).tolist(), holdout["label"].to_numpy()
    answers = [
        one for part in in_parts(pictures, TOGETHER) for one in ask(trained, {"images": part})["predictions"]
    ]
    known = trained.dataset.read("train")["label"].to_numpy()
    vote = np.array([one["label"] for one in answers])
    nearest = known[[one["neighbours"][0] for one in answers]]
    accuracy = METRICS["classification"][0]
    plain = measured("benchmarks.reference_implementations", "mnist", str(SOURCE))
    voted, near = (metric_interval(accuracy, labels, found, 0) for found in (vote, nearest))
    table.add(
        Line(
            "accuracy, vote of ten neighbours",
            metric_interval(voted),
            "≥ 0.9960",
            trained.taken,
            "nearest neighbour on pixels",
            f"{plain.told['accuracy']:.4f}",
            plain,
        ),
        Line("accuracy, nearest neighbour", metric_interval(near), "≥ 0.9940"),
        Line("of it, the step train", f"{trained.result['seconds']['train']:.0f} s", "none"),
    )
    assert (rows, len(labels)) == (60_000, 10_000)
    assert voted.value == pytest.approx(trained.result["metrics"]["accuracy"]["value"], abs=2e-4)
    assert voted.value >= 0.996
    assert near.value >= 0.994
    assert min((vote == labels)[labels == digit].mean() for digit in range(10)) >= 0.99
    assert near.low > plain.told["accuracy"]
