"""The bytes per row that prep-data and evaluate hold, which do not depend on the machine or its load."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.table_data import write_numbers
from components.prep_data import step as prep_data
from continuous_training.artifacts.measurements import ServingCost
from continuous_training.core.stored_array import stored_array
from continuous_training.evaluation.comparison import Costs, compare
from continuous_training.evaluation.predictions import Predictions
from workloads import csv_reader, discovery
from workloads.distinct_digests import DistinctDigests

SMALL, LARGE = 30_000, 120_000
BUFFERS = {
    "workloads.csv_table._CHUNK_BYTES": 1 << 18,
    "components.prep_data.row_group_writer._BYTES": 1 << 18,
    "components.prep_data.array_file.PART": 1 << 10,
    "continuous_training.evaluation.quantile_sketch.CAPACITY": 64,
}
COSTS = Costs(ServingCost(None, 1.0), ServingCost(None, 1.0))


def peak(action: Callable[[], Any]) -> int:
    """Return the largest number of bytes that Python and numpy hold at a time."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_prep_data_holds_less_than_sixteen_bytes_per_row_besides_the_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    # Buffers of constant size are smaller than the smaller source.
    for name, size in BUFFERS.items():
        monkeypatch.setattr(name, size)
    # All digests of earlier rows are in files, as those of the rows after the first 95 million.
    on_disk = partial(DistinctDigests, run=4096, runs_in_memory=0)
    monkeypatch.setattr(csv_reader, "DistinctDigests", on_disk)
    diabetes = discovery.get("diabetes")

    def prepare(rows: int) -> None:
        source = tmp_path / f"{rows}.csv"
        prep_data.run(diabetes, {"source": str(source)}, tmp_path / str(rows), progress=lambda _: None)

    for rows in (SMALL, LARGE):
        write_numbers(tmp_path / f"{rows}.csv", rows)
    small, large = (peak(partial(prepare, rows)) for rows in (SMALL, LARGE))
    assert (large - small) / (LARGE - SMALL) < 16


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_comparison_holds_no_numbers_per_row(task: str) -> None:
    workload = discovery.get("diabetes" if task == "regression" else "digits")

    def compared(rows: int) -> Callable[[], Any]:
        random = np.random.default_rng(0)
        actual = random.normal(size=rows) if task == "regression" else random.integers(0, 10, rows)
        noise = random.normal(size=(2, rows)) if task == "regression" else random.random((2, rows)) < 0.1
        arrays = [stored_array([values]) for values in (actual, actual + noise[0], actual + noise[1])]
        masks = {"half": np.arange(rows) % 2 == 0}
        return partial(compare, workload.rule, task, Predictions(*arrays), masks, COSTS, "1")

    rows = 300_000, 900_000
    small, large = (peak(action) for action in map(compared, rows))
    assert (large - small) / (rows[1] - rows[0]) < 2
