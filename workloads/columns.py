"""The columns of the raw data, and batches of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    """A batch of raw rows with their position: row i is row number `first + i` of the file `origin`."""

    batch: pa.RecordBatch
    origin: str
    first: int = 1
