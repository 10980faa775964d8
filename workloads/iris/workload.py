"""The workload iris: species of irises, a support vector machine on four measurements."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from continuous_training.adapters import postgres
from continuous_training.core.errors import UserError

from ..contract import (
    Column,
    LoadContext,
    Parameter,
    Progress,
    PromotionRule,
    Rows,
    Tensors,
    Training,
    Values,
    Workload,
)
from ..csv_reader import scikit_learn_file
from ..schemas import one_or_many, record
from ..tabular_requests import LARGEST
from .graph import svc_graph
from .handler import MEASUREMENTS, SPECIES, IrisHandler

TABLE = "iris_data"
_SQL = {"integer": "bigint", "number": "double precision", "text": "text"}
_ORDERS = tuple(f"{name}{suffix}" for name in ("id", *MEASUREMENTS, "species") for suffix in ("", " desc"))


class Iris(Workload):
    """The 150 flowers of Fisher, "The Use of Multiple Measurements in Taxonomic Problems" (1936), or more."""

    name = "iris"
    summary = "species of irises from four measurements, out of a PostgreSQL table; a support vector machine"
    task = "classification"
    key = "id"
    target = "species"
    prediction = "species"
    default_source = "sklearn:iris"
    handler = IrisHandler
    minimum_rows = 100
    columns = (
        Column("id", "integer", minimum=1, help="the id in the table"),
        *(Column(name, "number", 0, 30, help=name.replace("_", " ") + ", cm") for name in MEASUREMENTS),
        Column("species", "text", values=SPECIES, help="as identified by a botanist"),
    )
    own_parameters = (
        Parameter(
            "C",
            1.0,
            "penalty for a flower on the wrong side of the decision boundary",
            minimum=0.001,
            maximum=1000,
            shapes_data=False,
        ),
        Parameter(
            "table",
            TABLE,
            "the table, with its schema if necessary",
            pattern=r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?",
            example="iris_data or Garden.Iris_Data",
        ),
        Parameter("limit", 0, "maximum number of rows; 0: all", minimum=0),
        Parameter("order", "id", "the column that rows are sorted by", choices=_ORDERS),
        Parameter("timeout", 60.0, "maximum number of seconds for a query", minimum=0.1, maximum=3600),
    )
    intended = (
        "Classification of three species of iris that were measurements in the same way as Fisher's flowers."
    )
    limits = (
        "The model predicts one of three species for any flower. Versicolor and virginica overlap in these "
        "measurements. With a few dozen held-out rows, the accuracy is known only to within some ten points."
    )
    request_schema = one_or_many("flower", "flowers", record(columns[1:-1], LARGEST))
    # The table grows by a few rows at a time: a model of more rows is preferred unless it is worse.
    # 22 holdout rows cannot show a smaller margin: 0.05 needs 73, and 150 flowers have about 30.
    rule = PromotionRule(metric="accuracy", floor=0.9, margin=0.15, superiority=False, minimum_rows=22)

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the flowers of a table (postgresql://HOST:PORT/DATABASE) or of scikit-learn's copy."""
        if source.startswith(("postgresql:", "postgres:")):
            origin, blocks = f"table {values['table']}", self._from_table(source, values, context)
        elif source == self.default_source:
            origin, blocks = source, iter([scikit_learn_rows()])
        else:
            raise UserError(
                f"source {source!r}: give postgresql://HOST:PORT/DATABASE or {self.default_source}"
            )
        first = 1
        for block in blocks:
            columns = zip(self.columns, zip(*block, strict=True), strict=True)
            arrays = [pa.array(cells, column.arrow) for column, cells in columns]
            yield Rows(pa.record_batch(arrays, schema=self.schema()), origin, first)
            first += len(block)

    def _from_table(
        self, source: str, values: Values, context: LoadContext
    ) -> Iterator[list[tuple[Any, ...]]]:
        column, _, direction = str(values["order"]).partition(" ")
        order = [(column, direction == "desc")]
        # With ties, LIMIT could select other rows of the same data in another run.
        order += [("id", direction == "desc")] if column != "id" else []
        return postgres.select(
            source,
            str(values["table"]),
            {column.name: _SQL[column.kind] for column in self.columns},
            order,
            int(values["limit"]),
            float(values["timeout"]),
            context.addresses,
        )

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Fit the scaler, the support vector machine and the calibration of its probabilities."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        measurements = self.tensors(rows)["measurements"]
        species = np.array([SPECIES.index(name) for name in rows["species"].to_pylist()])
        counts = np.bincount(species, minlength=len(SPECIES))
        if counts.min() < FOLDS:
            species_counts = ", ".join(f"{n} of {name}" for name, n in zip(SPECIES, counts, strict=True))
            raise UserError(f"each species needs at least {FOLDS} training rows; there are {species_counts}")
        # The model must not depend on the order of the rows.
        order = np.argsort(rows["id"].to_numpy(), kind="stable")
        progress(f"training a support vector machine on {len(measurements)} flowers")
        scaler = StandardScaler().fit(measurements[order])
        # This replaces SVC(probability=True), which uses random numbers and is removed in scikit-learn 1.11.
        model = CalibratedClassifierCV(SVC(C=float(values["C"])), cv=FOLDS, ensemble=False)
        model.fit(scaler.transform(measurements[order]), species[order])
        (output / "model.onnx").write_bytes(svc_graph(scaler, model))
        vectors = model.calibrated_classifiers_[0].estimator.n_support_
        return Training(notes={"support vectors": dict(zip(SPECIES, vectors.tolist(), strict=True))})

    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the measurements: float64 [n, 4]."""
        return {"measurements": np.stack([rows[name].to_numpy() for name in MEASUREMENTS], axis=1)}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row's flower."""
        return {"flower": {name: row[name][0].as_py() for name in MEASUREMENTS}}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return one slice per species."""
        species = rows["species"].to_numpy()
        return {name: species == name for name in SPECIES}


FOLDS = 5
"""Number of folds of the cross-validation that calibrates the probabilities."""


def scikit_learn_rows() -> list[tuple[Any, ...]]:
    """Return the rows of scikit-learn's copy, numbered from 1: id, four measurements, species."""
    with Path(scikit_learn_file("iris.csv")).open(newline="") as file:
        lines = list(csv.reader(file))[1:]
    return [(number, *map(float, cells[:4]), SPECIES[int(cells[4])]) for number, cells in enumerate(lines, 1)]


WORKLOAD = Iris
