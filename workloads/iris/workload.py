"""Species of irises: a support vector machine over four measurements, from a table or scikit-learn's copy."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from continuous_training.adapters import postgres
from continuous_training.core.errors import UserError

from ..contract import Column, Parameter, Progress, PromotionRule, Rows, Tensors, Training, Values, Workload
from ..csv_reader import scikit_learn_file
from ..record_requests import LARGEST
from ..schemas import one_or_many, record
from .graph import svc_graph
from .handler import MEASUREMENTS, SPECIES, IrisHandler

TABLE = "iris_data"
_SQL = {"integer": "bigint", "number": "double precision", "text": "text"}
_ORDERS = tuple(f"{name}{way}" for name in ("id", *MEASUREMENTS, "species") for way in ("", " desc"))


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
        Column("id", "integer", minimum=1, help="the table's own"),
        *(Column(name, "number", 0, 30, help=name.replace("_", " ") + ", cm") for name in MEASUREMENTS),
        Column("species", "text", values=SPECIES, help="as a botanist named it"),
    )
    own_parameters = (
        Parameter(
            "C", 1.0, "penalty of a flower on the wrong side", minimum=0.001, maximum=1000, shapes_data=False
        ),
        Parameter(
            "table",
            TABLE,
            "the table, with its schema where it needs one",
            pattern=r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?",
            example="iris_data or garden.iris_data",
        ),
        Parameter("limit", 0, "the most rows that are read; 0: all", minimum=0),
        Parameter("order", "id", "the column that they come in the order of", choices=_ORDERS),
        Parameter("timeout", 60.0, "seconds that the database may take to answer", minimum=0.1, maximum=3600),
    )
    # The table grows by a few rows at a time: a model of more rows that is no worse is wanted.
    intended = (
        "To tell three species of iris apart that were measured as Fisher's were, on plants that are known."
    )
    limits = (
        "Knows three species and answers one of them to any flower. Versicolor and virginica overlap in "
        "these measurements, and a few dozen held-out rows place the accuracy within some ten points."
    )
    request_schema = one_or_many("flower", "flowers", record(columns[1:-1], LARGEST))
    rule = PromotionRule(metric="accuracy", floor=0.9, margin=0.05, superiority=False, minimum_rows=20)

    def load(self, source: str, values: Values) -> Iterator[Rows]:
        """Yield flowers from a table (postgresql://HOST:PORT/DATABASE) or from scikit-learn's copy."""
        if source.startswith(("postgresql:", "postgres:")):
            origin, blocks = f"table {values['table']}", self._from_table(source, values)
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

    def _from_table(self, source: str, values: Values) -> Iterator[list[tuple[Any, ...]]]:
        column, _, way = str(values["order"]).partition(" ")
        order = [(column, way == "desc")]
        # Ties would make LIMIT take any of the rows, and the same data another dataset.
        order += [("id", way == "desc")] if column != "id" else []
        return postgres.select(
            source,
            str(values["table"]),
            {column.name: _SQL[column.kind] for column in self.columns},
            order,
            int(values["limit"]),
            float(values["timeout"]),
        )

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Scale, fit the machine and calibrate its probabilities on the training rows alone."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        measured = self.tensors(rows)["measurements"]
        species = np.array([SPECIES.index(name) for name in rows["species"].to_pylist()])
        counts = np.bincount(species, minlength=len(SPECIES))
        if counts.min() < FOLDS:
            few = ", ".join(f"{n} of {name}" for name, n in zip(SPECIES, counts, strict=True))
            raise UserError(f"each species needs {FOLDS} rows to learn from at least; there are {few}")
        # The order that rows come in must not show in the model.
        order = np.argsort(rows["id"].to_numpy(), kind="stable")
        progress(f"a support vector machine on {len(measured)} flowers")
        scaler = StandardScaler().fit(measured[order])
        # What SVC(probability=True) was, without its random numbers; that option leaves in scikit-learn 1.11.
        model = CalibratedClassifierCV(SVC(C=float(values["C"])), cv=FOLDS, ensemble=False)
        model.fit(scaler.transform(measured[order]), species[order])
        (output / "model.onnx").write_bytes(svc_graph(scaler, model))
        vectors = model.calibrated_classifiers_[0].estimator.n_support_
        return Training(notes={"support vectors": dict(zip(SPECIES, vectors.tolist(), strict=True))})

    def tensors(self, rows: pa.Table) -> Tensors:
        """Stack the measurements: float64 [n, 4]."""
        return {"measurements": np.stack([rows[name].to_numpy() for name in MEASUREMENTS], axis=1)}

    def request(self, row: pa.Table) -> Any:
        """Ask about one flower."""
        return {"flower": {name: row[name][0].as_py() for name in MEASUREMENTS}}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Judge each species on its own."""
        species = rows["species"].to_numpy()
        return {name: species == name for name in SPECIES}


FOLDS = 5
"""Parts of the training rows that calibration is learnt across."""


def scikit_learn_rows() -> list[tuple[Any, ...]]:
    """Return the rows of scikit-learn's copy, numbered from 1: id, four measurements, species."""
    with Path(scikit_learn_file("iris.csv")).open(newline="") as file:
        lines = list(csv.reader(file))[1:]
    return [(number, *map(float, cells[:4]), SPECIES[int(cells[4])]) for number, cells in enumerate(lines, 1)]


WORKLOAD = Iris
