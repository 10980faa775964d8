"""A table of texts, categories, numbers and missing values, for benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from workloads.contract import (
    Column,
    LoadContext,
    Parameter,
    Progress,
    PromotionRule,
    Rows,
    StoredRows,
    Tensors,
    Training,
    Values,
    Workload,
)

from .handler import CITIES, FEATURES, MixedHandler, features

_BLOCK_BYTES = 1 << 20


class Mixed(Workload):
    """Least squares on numbers, a category and the length of a text. Rows without a value are set aside."""

    name = "mixed"
    summary = "a table of texts, categories, numbers and missing values; least squares"
    task = "regression"
    key = "id"
    target = "price"
    prediction = "price"
    default_source = "mixed.csv"
    handler = MixedHandler
    bad_rows = 0.05
    columns = (
        Column("id", "text", help="number of the row"),
        Column("note", "text", help="some words"),
        Column("city", "text", values=CITIES, help="a category"),
        Column("grade", "integer", values=(1, 2, 3, 4, 5), help="a category with an order"),
        Column("amount", "number", 0, 1e6, help="a number"),
        Column("area", "number", 0, 1e6, help="a number"),
        Column("price", "number", help="the label"),
    )
    own_parameters = (Parameter("source", "", "a CSV file"),)
    rule = PromotionRule(metric="r2", floor=0.1)

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the rows of a CSV file. An empty cell is a missing value."""
        types = {column.name: column.arrow for column in self.columns}
        options = csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
        convert = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
        first = 2
        for batch in csv.open_csv(source, options, convert_options=convert):
            yield Rows(batch, Path(source).name, first)
            first += batch.num_rows

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Fit least squares on a table."""
        return self._fit(rows.to_batches(), output)

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Fit least squares from the sums of products, in batches."""
        return self._fit(rows.batches(), output)

    def _fit(self, batches: Any, output: Path) -> Training:
        products, moments = np.zeros((FEATURES, FEATURES)), np.zeros(FEATURES)
        for batch in batches:
            numbers = self.tensors(batch)["features"]
            products += numbers.T @ numbers
            moments += numbers.T @ batch.column("price").to_numpy()
        np.save(output / "weights.npy", np.linalg.solve(products, moments), allow_pickle=False)
        return Training()

    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the features: float64 [n, FEATURES]."""
        amount, area, grade = (rows.column(name).to_numpy() for name in ("amount", "area", "grade"))
        lengths = pc.utf8_length(rows.column("note")).to_numpy()
        cities = pc.index_in(rows.column("city"), value_set=pa.array(CITIES)).to_numpy()
        return {"features": features(amount, area, grade, lengths, cities)}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row."""
        return {name: row[name][0].as_py() for name in ("note", "city", "grade", "amount", "area")}


WORKLOAD = Mixed
