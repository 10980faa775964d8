"""CSV files of the benchmark of tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from workloads.csv_reader import read_numbers, scikit_learn_file
from workloads.diabetes.handler import FEATURES
from workloads.diabetes.workload import Diabetes

_BATCH = 200_000
_WIDTH = 999


def write_numbers(path: Path, rows: int) -> None:
    """Write the patients of scikit-learn's copy `rows` times, with a noise of 3 % on each measurement."""
    parts = [
        np.concatenate([block.values for block in read_numbers(scikit_learn_file(name), names, delimiter)])
        for name, names, delimiter in (
            ("diabetes_data_raw.csv.gz", FEATURES, " "),
            ("diabetes_target.csv.gz", ["progression"], ","),
        )
    ]
    patients, random = np.hstack(parts), np.random.default_rng(0)
    columns = Diabetes.columns[1:]
    low, high = np.array([(column.minimum or 0, column.maximum or 1e6) for column in columns]).T

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, rows, _BATCH):
            sample = patients[random.integers(0, len(patients), min(_BATCH, rows - start))]
            noisy = (sample * (1 + 0.03 * random.standard_normal(sample.shape))).clip(low, high).round(6)
            noisy[:, FEATURES.index("sex")] = sample[:, FEATURES.index("sex")]
            yield noisy

    _write(path, [column.name for column in columns], batches())


def write_wide(path: Path, rows: int) -> None:
    """Write a table with 1,000 columns: normally distributed numbers, and their weighted sum with noise."""
    random = np.random.default_rng(0)
    weights = random.standard_normal(_WIDTH)

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, rows, 10_000):
            features = random.standard_normal((min(10_000, rows - start), _WIDTH)).round(4)
            noise = 10 * random.standard_normal(len(features))
            yield np.column_stack([features, (features @ weights + noise).round(4)])

    _write(path, [*(f"x{index}" for index in range(_WIDTH)), "y"], batches())


def _write(path: Path, names: list[str], batches: Iterator[np.ndarray]) -> None:
    with path.open("wb") as file:
        for number, batch in enumerate(batches):
            table = pa.table([pa.array(column) for column in batch.T], names=names)
            csv.write_csv(table, file, csv.WriteOptions(include_header=number == 0))
