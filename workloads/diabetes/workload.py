"""The workload diabetes: progression after a year, least squares on one measurement or on all ten."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from continuous_training.core.errors import UserError

from ..contract import (
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
from ..csv_reader import CSV, Block, distinct_rows, numbered_rows, read_numbers, scikit_learn_file, to_arrow
from ..onnx_graph import linear_graph
from ..schemas import exactly, list_of, one_or_many, record
from ..tabular_requests import LARGEST
from .handler import FEATURES, DiabetesHandler

EXAMPLE_HOLDOUT = 20
"""scikit-learn's example "Ordinary Least Squares" holds out the last 20 rows."""


class Diabetes(Workload):
    """Ordinary least squares on the 442 patients of Efron et al., "Least Angle Regression" (2004)."""

    name = "diabetes"
    summary = "progression of diabetes from ten measurements; linear regression"
    task = "regression"
    key = "id"
    target = "progression"
    prediction = "progression"
    default_source = "sklearn:diabetes"
    handler = DiabetesHandler
    minimum_rows = 100
    columns = (
        Column("id", "text", help="number in scikit-learn's copy, or digest of the row"),
        Column("age", "number", 0, 120, help="years"),
        Column("sex", "integer", values=(1, 2), help="as coded by the authors"),
        Column("bmi", "number", 10, 80, help="body mass index, kg/m²"),
        Column("bp", "number", 30, 250, help="mean arterial pressure, mmHg"),
        Column("s1", "number", 0, 1000, help="total serum cholesterol, mg/dl"),
        Column("s2", "number", 0, 1000, help="low-density lipoproteins, mg/dl"),
        Column("s3", "number", 0, 300, help="high-density lipoproteins, mg/dl"),
        Column("s4", "number", 0, 50, help="total cholesterol / HDL"),
        Column("s5", "number", 0, 20, help="log of serum triglycerides"),
        Column("s6", "number", 0, 1000, help="blood sugar, mg/dl"),
        Column("progression", "number", 0, 1000, help="measure of progression a year after baseline"),
    )
    own_parameters = (
        Parameter(
            "features", "all", "measurements to learn from", choices=("all", *FEATURES), shapes_data=False
        ),
        Parameter(
            "split",
            "hash",
            "holdout: rows by a hash of their key, or the last 20 as in scikit-learn's example",
            choices=("hash", "example"),
        ),
        Parameter(
            "source",
            "",
            f"{CSV}: {', '.join(FEATURES)} and progression; empty: scikit-learn's copy",
        ),
    )
    rule = PromotionRule(metric="r2", floor=0.2, minimum_rows=20)
    request_schema = one_or_many("patient", "patients", record(columns[1:-1], LARGEST))
    answer_schema = exactly(
        progression=list_of(
            {"type": "number", "description": "measure of progression after a year", "x-headline": True}
        )
    )
    intended = (
        "A demonstration of a regression: the mean progression of a group similar to the patients studied."
    )
    limits = (
        "The data are 442 patients of one study, measured once, decades ago. Half of the variance remains "
        "unexplained, and the typical error of a prediction is 45 points. Do not use the model for decisions "
        "about a patient."
    )

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the patients of scikit-learn's copy, or each distinct row of CSV files."""
        if source == self.default_source:
            blocks, add_keys = _read_scikit_learn(), numbered_rows
        else:
            blocks = self._read_csv(source, context)
            add_keys = partial(distinct_rows, drop_duplicates=context.drop_duplicates)
        if values["split"] == "hash":
            for block, keys in add_keys(blocks):
                yield Rows(self._batch(block, keys), block.origin, block.first)
            return
        all_blocks = list(blocks)
        last_training_row = sum(len(block.values) for block in all_blocks) - EXAMPLE_HOLDOUT
        for block, keys in add_keys(all_blocks):
            numbers = np.arange(block.number, block.number + len(block.values))
            split = np.where(numbers <= last_training_row, "train", "holdout").astype(object)
            batch = self._batch(block, keys).append_column("split", pa.array(split))
            yield Rows(batch, block.origin, block.first)

    def _read_csv(self, source: str, context: LoadContext) -> Iterator[Block]:
        if source.startswith("sklearn:"):
            raise UserError(f"source {source!r}: scikit-learn's copy of this data is sklearn:diabetes")
        names = (*FEATURES, "progression")
        return read_numbers(
            source,
            names,
            integers=("sex",),
            set_aside=context.set_aside,
            files=context.files,
            advance=context.advance,
        )

    def _batch(self, block: Block, keys: pa.Array) -> pa.RecordBatch:
        numbers = zip(self.columns[1:], block.values.T, strict=True)
        columns = [to_arrow(column, values, block.origin, block.first) for column, values in numbers]
        return pa.record_batch([keys, *columns], schema=self.schema())

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Fit least squares on a table."""
        return self._fit(
            self.tensors(rows)["features"], rows[self.target].to_numpy(), values, output, progress
        )

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Fit least squares. The rows are read in batches, so memory holds only the numbers of the fit."""
        features, labels = np.empty((rows.num_rows, len(FEATURES))), np.empty(rows.num_rows)
        start = 0
        for batch in rows.batches([*FEATURES, self.target]):
            end = start + batch.num_rows
            features[start:end] = self.tensors(batch)["features"]
            labels[start:end] = batch.column(self.target).to_numpy()
            start = end
        return self._fit(features, labels, values, output, progress)

    def _fit(
        self, features: np.ndarray, labels: np.ndarray, values: Values, output: Path, progress: Progress
    ) -> Training:
        """Fit least squares, and write the model. Features that are not selected get the weight zero."""
        from sklearn.linear_model import LinearRegression

        selected = [name for name in FEATURES if values["features"] in ("all", name)]
        columns = [FEATURES.index(name) for name in selected]
        progress(f"least squares on {len(features)} patients and {', '.join(selected)}")
        measurements = features if len(selected) == len(FEATURES) else features[:, columns]
        # The numbers are not used again, so the fit may centre them in place.
        model = LinearRegression(copy_X=False).fit(measurements, labels)
        weights = np.zeros((len(FEATURES), 1))
        weights[columns, 0] = model.coef_
        graph = linear_graph(
            "features", (len(FEATURES),), weights, np.array([model.intercept_]), dtype=np.float64
        )
        (output / "model.onnx").write_bytes(graph)
        slopes = {name: float(slope) for name, slope in zip(selected, model.coef_, strict=True)}
        return Training(notes={"intercept": float(model.intercept_), "slopes": slopes})

    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the ten measurements: float64 [n, 10]."""
        features = np.empty((len(rows), len(FEATURES)))
        for index, name in enumerate(FEATURES):
            features[:, index] = rows[name].to_numpy()
        return {"features": features}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row's patient."""
        return {"patient": {name: row[name][0].as_py() for name in FEATURES}}

    def single_feature(self, values: Values) -> str:
        """Return the selected measurement, or an empty string if the model uses all."""
        return "" if values["features"] == "all" else str(values["features"])

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return one slice per sex."""
        sex = rows["sex"].to_numpy()
        return {f"sex {value}": sex == value for value in (1, 2)}


def _read_scikit_learn() -> Iterator[Block]:
    features = read_numbers(scikit_learn_file("diabetes_data_raw.csv.gz"), FEATURES, delimiter=" ")
    targets = read_numbers(scikit_learn_file("diabetes_target.csv.gz"), ["progression"])
    for left, right in zip(features, targets, strict=True):
        yield left._replace(values=np.hstack([left.values, right.values]))


WORKLOAD = Diabetes
