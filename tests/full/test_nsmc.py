"""nsmc at full size: both models and the reference implementation in the same run, ten times the rows."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from benchmarks import nsmc, scale
from benchmarks.processes import measured

from .pipeline import DATA, Run, ask, in_parts, run
from .table import Line, Table, interval

SOURCE = DATA / "nsmc"
ROUNDS = 3
TOGETHER = 1000

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not SOURCE.is_dir(), reason="no ../shared/data/nsmc beside the checkout"),
]


@pytest.fixture(scope="module")
def fast(state: Path) -> Run:
    """The pipeline with the fast model: the first champion."""
    return run("nsmc", state, source=SOURCE)


def test_the_fast_model_exceeds_the_reference_implementation_in_accuracy_and_time(
    fast: Run, table: Table
) -> None:
    """Whole processes that do the same work: a pipeline would be compared with a script otherwise."""
    rounds = [[measured(nsmc.METHODS, m, str(SOURCE)) for m in ("reference", "fast")] for _ in range(ROUNDS)]
    reference, alone = rounds[0]
    clock = statistics.median(ours.seconds / before.seconds for before, ours in rounds)
    # Where other processes want the cores, the clock measures them as well.
    ratio = statistics.median(ours.cpu / before.cpu for before, ours in rounds)
    accuracy = fast.result["metrics"]["accuracy"]
    words = "words and naive Bayes"
    table.add(
        Line(
            "accuracy, fast",
            interval(accuracy),
            "≥ 0.8760",
            fast.taken,
            words,
            f"{reference.told['accuracy']:.4f}",
            reference,
        ),
        Line(
            "CPU seconds of fast, without the pipeline",
            f"{ratio:.2f}x ({clock:.2f}x by the clock)",
            "≤ 0.80x",
            alone,
            words,
            "1.00x",
            reference,
        ),
    )
    assert reference.told["accuracy"] == pytest.approx(0.8216, abs=0.0005)
    assert accuracy["value"] == pytest.approx(alone.told["accuracy"], abs=0.002)
    assert accuracy["value"] >= 0.876
    assert ratio <= 0.8


def test_the_deep_model_takes_the_place_of_the_fast_one(fast: Run, state: Path, table: Table) -> None:
    """The gate itself says by how much it is better, on the same reviews."""
    pytest.importorskip("torch", reason="the deep model trains with torch: make install EXTRAS=torch")
    both = run("nsmc", state, source=SOURCE, model="both")
    accuracy, gain = both.result["metrics"]["accuracy"], both.evaluation["difference"]
    table.add(
        Line("accuracy, deep (model=both)", interval(accuracy), "≥ 0.8830", both.taken),
        Line("deep against fast, paired", interval(gain), "interval above 0"),
    )
    assert both.evaluation["champion"]["digest"] == fast.result["digest"]
    assert accuracy["value"] >= 0.883
    assert gain["low"] > 0
    holdout = both.dataset.read("holdout")
    texts, labels = holdout["document"].to_pylist(), holdout["label"].to_numpy()
    answers = [
        one["label"] == "positive"
        for part in in_parts(texts, TOGETHER)
        for one in ask(both, {"text": part, "do_fast": True})["predictions"]
    ]
    served = (np.array(answers) == labels).mean()
    assert served == pytest.approx(fast.result["metrics"]["accuracy"]["value"], abs=1e-9)


def test_memory_stays_flat_at_ten_times_the_rows(table: Table) -> None:
    for step, taken in zip(scale.STEPS, scale.measure(SOURCE, 10), strict=True):
        table.add(Line(f"{step} of 2,000,000 reviews", f"{taken.megabytes:.0f} MB", "≤ 300 MB", taken))
        assert taken.megabytes <= 300
