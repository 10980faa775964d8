"""The columns of the raw data, and batches of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column of the raw data, with its allowed values.

    `kind` is text, integer, number, bytes, or vector (`length` numbers per row). `minimum` and `maximum` are
    inclusive. `values` is the set of allowed values, for example the labels.
    """

    name: str
    kind: Literal["text", "integer", "number", "bytes", "vector"]
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str | int, ...] = ()
    length: int = 0
    help: str = ""

    @property
    def arrow(self) -> pa.DataType:
        """The column's Arrow type."""
        if self.kind == "vector":
            return pa.list_(pa.float32(), self.length)
        kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "bytes": pa.binary()}
        return kinds[self.kind]


@dataclass(frozen=True)
class Rows:
    """A batch of raw rows with their position: row i is row number `first + i` of the file `origin`.

    `numbers` has the row number of each row if the numbers are not consecutive.
    """

    batch: pa.RecordBatch
    origin: str
    first: int = 1
    numbers: np.ndarray | None = field(default=None, compare=False)

    def row_numbers(self) -> np.ndarray:
        """Return the row number of each row: int64 [rows]."""
        if self.numbers is not None:
            return self.numbers
        return np.arange(self.first, self.first + self.batch.num_rows)

    def select(self, mask: np.ndarray) -> Rows:
        """Return the rows where `mask` is true."""
        return Rows(self.batch.filter(pa.array(mask)), self.origin, self.first, self.row_numbers()[mask])
