"""Read the rows of one Parquet table of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from continuous_training.artifacts.bad_rows import BadRow, BadRowType
from continuous_training.core.errors import UserError

from .csv_table import are_integers
from .load_context import SetAside

_BATCH = 10_000
_INDEX = "__index_level_"
"""The start of the name of the column in which pandas stores its index."""


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file with the columns `columns`, of which `integers` have only integers.

    `name` is the file's path in the source. A column that the file does not contain may be one of the
    partition folders in it, such as `sex=1/part-0.parquet`.
    """

    path: Path
    name: str
    columns: tuple[str, ...]
    integers: tuple[str, ...] = ()

    def runs(self, set_aside: SetAside, read: Callable[[int], None]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number of the first row and the numbers of consecutive rows, float64 [rows, columns].

        Rows count from 1. Bad rows are passed to `set_aside`, and the position in the file to `read`. Raises
        UserError for unknown or missing columns, for a column without numbers, and for a file that cannot be
        read.
        """
        try:
            with pq.ParquetFile(self.path, memory_map=True) as file:
                names, partitions = self._match(file.schema_arrow)
                size, rows, first = self.path.stat().st_size, file.metadata.num_rows, 1
                for batch in file.iter_batches(_BATCH, columns=list(names.values()), use_threads=False):
                    yield from self._batch_runs(batch, names, partitions, first, set_aside)
                    first += batch.num_rows
                    read(size * (first - 1) // max(rows, 1))
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{self.name}: cannot be read ({error}); is the file a complete Parquet file?"
            ) from None

    def _match(self, schema: pa.Schema) -> tuple[dict[str, str], dict[str, float]]:
        """Return the name in the file of each column, and the number of each column that is a partition."""
        existing = {name.lower(): name for name in schema.names if not name.startswith(_INDEX)}
        folders = (part.partition("=") for part in PurePosixPath(self.name).parent.parts if "=" in part)
        keys = {key.lower(): unquote(value) for key, _, value in folders}
        wanted = {column.lower(): column for column in self.columns}
        unknown = [name for lower, name in existing.items() if lower not in wanted]
        missing = [column for lower, column in wanted.items() if lower not in {*existing, *keys}]
        if unknown or missing or len(existing) < len([n for n in schema.names if not n.startswith(_INDEX)]):
            problems = [f"unknown {', '.join(unknown)}"] if unknown else []
            problems += [f"missing {', '.join(missing)}"] if missing else []
            raise UserError(
                f"{self.name}: unexpected column names ({'; '.join(problems) or 'a name occurs twice'}). "
                f"Expected: {', '.join(self.columns)}, in any order"
            )
        names = {column: existing[lower] for lower, column in wanted.items() if lower in existing}
        for column, name in names.items():
            self._require_numbers(column, schema.field(name).type)
        return names, {
            c: self._number(c, keys[lower]) for lower, c in wanted.items() if lower not in existing
        }

    def _require_numbers(self, column: str, kind: pa.DataType) -> None:
        types = pa.types
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
            raise UserError(f"{self.name}, column {column}: the type is {kind}; numbers are expected")

    def _number(self, column: str, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise UserError(
                f"{self.name}, column {column}: {text!r:.80} of the partition is not a number"
            ) from None

    def _batch_runs(
        self,
        batch: pa.RecordBatch,
        names: dict[str, str],
        partitions: dict[str, float],
        first: int,
        set_aside: SetAside,
    ) -> Iterator[tuple[int, np.ndarray]]:
        values = np.empty((batch.num_rows, len(self.columns)))
        bad: dict[int, BadRow] = {}
        for index, column in enumerate(self.columns):
            if column in partitions:
                values[:, index] = partitions[column]
                continue
            cells = batch.column(names[column])
            # An integer that a float64 cannot represent is rejected below, where integers are expected.
            values[:, index] = pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            missing = cells.is_null().to_numpy(zero_copy_only=False)
            texts = ["the value is missing"] * int(missing.sum())
            self._add_bad(bad, missing, first, BadRowType.MISSING, column, texts)
            if column in self.integers:
                fractions = ~are_integers(values[:, index]) & ~missing
                texts = [f"{value:g} is not an integer" for value in values[fractions, index]]
                self._add_bad(bad, fractions, first, BadRowType.NOT_AN_INTEGER, column, texts)
        for row in sorted(bad):
            set_aside(bad[row])
        valid = np.setdiff1d(np.arange(batch.num_rows), list(bad))
        for run in np.split(valid, np.flatnonzero(np.diff(valid) != 1) + 1):
            if len(run):
                yield first + int(run[0]), values[run]

    def _add_bad(
        self,
        bad: dict[int, BadRow],
        mask: np.ndarray,
        first: int,
        type: BadRowType,
        column: str,
        messages: list[str],
    ) -> None:
        """Add the rows of the mask, with one message each, that have no earlier problem."""
        for row, message in zip(np.flatnonzero(mask).tolist(), messages, strict=True):
            bad.setdefault(row, BadRow(self.name, first + row, type, message, column))
