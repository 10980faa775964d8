"""The split by time: keep the rows on disk until all times are known, then separate the latest rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.prep_data.array_file import ArrayFile
from components.split_sides import format_time, parse_times
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.errors import UserError
from workloads.splits import TimeSplit, seconds

LARGEST_HOLDOUT = 0.9
"""The largest share of the rows that a split by time may hold out."""


class StagedRows:
    """Stores rows in a temporary file, and computes the times that separate training rows and holdout.

    Memory: 8 bytes per row for `rule`. Before, the times are in a file next to the rows.
    """

    def __init__(self, split: TimeSplit, share: float, path: Path, schema: pa.Schema) -> None:
        self._split, self._share, self._path = split, share, path
        self._writer = pa.ipc.new_stream(path, schema)
        self._timestamps = ArrayFile(np.int64, path.parent)

    def add(self, batch: pa.RecordBatch) -> None:
        """Store the rows of a batch, whose times are valid."""
        self._writer.write_batch(batch)
        self._timestamps.append(parse_times(batch.column(self._split.column)).to_numpy())

    def rule(self) -> SplitRule:
        """Return the rule of the split.

        Raises UserError if no row is early enough for training, or if nearly all rows would be held out.
        """
        ordered = self._timestamps.read()
        ordered.sort()
        earliest, latest = int(ordered[0]), int(ordered[-1])
        after = self._holdout_after(ordered)
        until = after - seconds(self._split.gap) * 1_000_000
        if until < earliest:
            raise UserError(
                f"column {self._split.column}: no row is early enough for the training rows. The times are "
                f"from {format_time(earliest)} to {format_time(latest)}. Shorten split_holdout or split_gap, "
                "or add earlier rows"
            )
        held_out = len(ordered) - int(np.searchsorted(ordered, after, side="right"))
        if held_out > LARGEST_HOLDOUT * len(ordered):
            raise UserError(
                f"column {self._split.column}: {held_out:,} of {len(ordered):,} rows are after "
                f"{format_time(after)} and would be held out; at most {LARGEST_HOLDOUT:.0%} may. Shorten "
                "split_holdout, or add earlier rows"
            )
        return SplitRule(
            "time", self._split.column, train_until=format_time(until), holdout_after=format_time(after)
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the stored batches, and delete the file."""
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as batches:
            yield from batches
        self._path.unlink()

    def close(self) -> None:
        """Finish the temporary file."""
        self._writer.close()

    def _holdout_after(self, ordered: np.ndarray) -> int:
        """Return the time after which rows are held out.

        For a share of the rows, it is the time that gives the closest share, because rows with the same time
        are on the same side. With a single time, it is the time before all rows.
        """
        if self._split.holdout:
            return int(ordered[-1]) - seconds(self._split.holdout) * 1_000_000
        if ordered[0] == ordered[-1]:
            return int(ordered[0]) - 1
        rows, share = len(ordered), self._share * len(ordered)
        # The time at the border of the exact share: its rows are all training rows, or all are held out.
        time = ordered[min(int(rows - share), rows - 1)]
        ends = [int(np.searchsorted(ordered, time, side=side)) for side in ("left", "right")]
        end = min((end for end in ends if 0 < end < rows), key=lambda end: abs(rows - end - share))
        return int(ordered[end - 1])
