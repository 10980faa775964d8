"""CSV files of the benchmark of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
            yield noisy.T

    _write(path, [column.name for column in columns], batches())


def write_wide(path: Path, rows: int) -> None:
    """Write a table with 1,000 columns: normally distributed numbers, and their weighted sum with noise."""
    random = np.random.default_rng(0)
    weights = random.standard_normal(_WIDTH)

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, rows, 10_000):
            features = random.standard_normal((min(10_000, rows - start), _WIDTH)).round(4)
            noise = 10 * random.standard_normal(len(features))
            yield np.column_stack([features, (features @ weights + noise).round(4)]).T

    _write(path, [*(f"x{index}" for index in range(_WIDTH)), "y"], batches())


def write_mixed(path: Path, rows: int) -> None:
    """Write a table of texts, categories and numbers. 1 % of the amounts and of the texts are missing."""
    random = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(5000)])
    cities = np.array([f"city{number}" for number in range(10)])

    def batches() -> Iterator[list[np.ndarray]]:
        for start in range(0, rows, _BATCH):
            size = min(_BATCH, rows - start)
            notes = vocabulary[random.integers(0, len(vocabulary), (6, size))]
            notes[2:][random.random((4, size)) < 0.5] = ""
            note = np.array([" ".join(filter(None, row)) for row in notes.T.tolist()], dtype=object)
            grade, city = random.integers(1, 6, size), random.integers(0, len(cities), size)
            amount, area = random.gamma(2, 100, (2, size)).round(2).astype(object)
            price = 3 * amount + 2 * area + 50 * grade + 20 * city + random.normal(0, 100, size)
            amount[random.random(size) < 0.01], note[random.random(size) < 0.01] = None, None
            key = np.array([f"r{number:09d}" for number in range(start, start + size)])
            yield [key, note, cities[city], grade, amount, area, price.astype(np.float64).round(2)]

    _write(path, ["id", "note", "city", "grade", "amount", "area", "price"], batches())


def _write(path: Path, names: list[str], batches: Iterable[Iterable[np.ndarray]]) -> None:
    with path.open("wb") as file:
        for number, batch in enumerate(batches):
            table = pa.table([pa.array(column) for column in batch], names=names)
            csv.write_csv(table, file, csv.WriteOptions(include_header=number == 0))
