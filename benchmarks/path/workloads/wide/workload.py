"""A table of 1,000 columns of numbers, for benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

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
from workloads.csv_reader import CSV, distinct_rows, read_numbers, to_arrow

from .handler import WIDTH, WideHandler

NAMES = tuple(f"x{index}" for index in range(WIDTH))


class Wide(Workload):
    """Least squares on 999 columns of numbers."""

    name = "wide"
    summary = "a table of 1,000 columns of numbers; least squares"
    task = "regression"
    key = "id"
    target = "y"
    prediction = "y"
    default_source = "wide.csv"
    handler = WideHandler
    columns = (
        Column("id", "text", help="digest of the row"),
        *(Column(name, "number", -100, 100, help="a number") for name in NAMES),
        Column("y", "number", help="the label"),
    )
    own_parameters = (
        Parameter("source", "", CSV),
        Parameter("ridge", 1e-6, "weight of the penalty", minimum=0, shapes_data=False),
    )
    rule = PromotionRule(metric="r2", floor=0.1)

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield each distinct row of CSV files."""
        blocks = read_numbers(source, (*NAMES, "y"), set_aside=context.set_aside, advance=context.advance)
        for block, keys in distinct_rows(blocks):
            columns = [
                to_arrow(column, numbers, block.origin, block.first)
                for column, numbers in zip(self.columns[1:], block.values.T, strict=True)
            ]
            yield Rows(pa.record_batch([keys, *columns], schema=self.schema()), block.origin, block.first)

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Fit least squares on a table."""
        return self._fit(rows.to_batches(), values, output)

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Fit least squares from the sums of products, in batches."""
        return self._fit(rows.batches([*NAMES, "y"]), values, output)

    def _fit(self, batches: Any, values: Values, output: Path) -> Training:
        products = np.zeros((WIDTH + 1, WIDTH + 1))
        moments = np.zeros(WIDTH + 1)
        for batch in batches:
            features = np.hstack([self.tensors(batch)["features"], np.ones((batch.num_rows, 1))])
            products += features.T @ features
            moments += features.T @ batch.column("y").to_numpy()
        weights = np.linalg.solve(products + float(values["ridge"]) * np.eye(WIDTH + 1), moments)
        np.save(output / "weights.npy", weights, allow_pickle=False)
        return Training()

    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the numbers: float64 [n, WIDTH]."""
        return {"features": np.stack([rows.column(name).to_numpy() for name in NAMES], axis=1)}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row."""
        return {"row": [row[name][0].as_py() for name in NAMES]}


WORKLOAD = Wide
