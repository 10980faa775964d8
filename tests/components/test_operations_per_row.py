"""The number of Python calls per row, which bounds the time and does not depend on the machine."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.table_data import write_numbers
from components.evaluate.holdout import Holdout
from components.evaluate.inference import slice_masks
from components.prep_data import step as prep_data
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.measurements import ServingCost
from continuous_training.evaluation.comparison import Costs, compare
from continuous_training.evaluation.predictions import Predictions
from workloads import discovery

SMALL, LARGE = 10_000, 40_000
COSTS = Costs(ServingCost(None, 1.0), ServingCost(None, 1.0))
HASHES = 3
"""The sha256 of each row's content, of its key and of all its values: two calls each."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tables")
    paths = folder / "small.csv", folder / "large.csv"
    for path, rows in zip(paths, (SMALL, LARGE), strict=True):
        write_numbers(path, rows)
    return paths


def calls(action: Callable[[], Any]) -> int:
    profile = cProfile.Profile()
    profile.runcall(action)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_prep_data_makes_few_calls_per_row(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The profile does not include the calls of other threads.
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    diabetes = discovery.get("diabetes")

    def prepare(source: Path) -> None:
        prep_data.run(diabetes, {"source": str(source)}, tmp_path / source.stem, progress=lambda _: None)

    prepare(sources[0])
    small, large = (calls(lambda path=path: prepare(path)) for path in sources)
    per_row = (large - small) / (LARGE - SMALL)
    assert 2 * HASHES <= per_row < 2 * HASHES + 2
    assert Dataset.open(tmp_path / "large").manifest.train.rows > 0.75 * LARGE


def test_a_comparison_makes_no_calls_per_row(sources: tuple[Path, Path], tmp_path: Path) -> None:
    diabetes = discovery.get("diabetes")
    counts, rows = [], []
    for source in sources:
        prep_data.run(diabetes, {"source": str(source)}, tmp_path / source.stem, progress=lambda _: None)
        holdout = Holdout(Dataset.open(tmp_path / source.stem).rows("holdout"))

        def evaluate(holdout: Holdout = holdout) -> None:
            actual = holdout.values("progression")
            noise = np.random.default_rng(0).normal(size=(2, len(actual)))
            predictions = Predictions(actual, actual + noise[0], actual + noise[1])
            masks = slice_masks(diabetes, holdout)
            compare(diabetes.rule, "regression", predictions, masks, COSTS, "1")

        evaluate()
        counts.append(calls(evaluate))
        rows.append(holdout.num_rows)
    assert (counts[1] - counts[0]) / (rows[1] - rows[0]) < 0.5
