"""Set bad rows aside: write them next to the dataset, count them, and check their number."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from continuous_training.artifacts.bad_rows import BAD_ROWS, BadRow, BadRowCounts
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.core.progress import Progress

_EXAMPLES = 5
"""The number of bad rows that an error names."""


class BadRowWriter:
    """Writes bad rows to a file in `folder`, and counts them by type.

    `limit` is the largest allowed number of bad rows, or their largest share of all rows if it is below 1.
    Memory does not grow with the number of rows.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self._path, self._limit = folder / BAD_ROWS, limit
        self._types: Counter[str] = Counter()
        self._first: list[BadRow] = []
        self._stack = ExitStack()
        self._file: IO[str] | None = None

    def __enter__(self) -> BadRowWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, row: BadRow) -> None:
        """Set one row aside. Raises UserError if no row may be set aside."""
        self.add_batch([row])

    def add_batch(self, rows: Sequence[BadRow]) -> None:
        """Set rows of one batch aside. Raises UserError if no row may be set aside."""
        if not self._limit:
            suffix = f" (and {len(rows) - 1} more rows in this batch)" if len(rows) > 1 else ""
            raise UserError(f"{rows[0]}{suffix}")
        if self._file is None:
            # A value with a lone surrogate, such as an undecodable byte, cannot be encoded.
            stream = self._path.open("w", encoding="utf-8", errors="backslashreplace")
            self._file = self._stack.enter_context(stream)
        self._file.writelines(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
        self._types.update(str(row.type) for row in rows)
        self._first += rows[: _EXAMPLES - len(self._first)]

    def check(self, source: str, valid_rows: int, progress: Progress) -> BadRowCounts:
        """Return and report the counts, after the file is closed.

        Raises UserError if there are more bad rows than allowed.
        """
        count = self._types.total()
        total = count + valid_rows
        types = dict(sorted(self._types.items()))
        counts = BadRowCounts(types, self._limit, digest_file(self._path) if count else "")
        if count and (count / total if self._limit < 1 else count) > self._limit:
            allowed = f"{100 * self._limit:g} %" if self._limit < 1 else f"{self._limit:,.0f}"
            raise UserError(
                f"source {source}: {count:,} of {total:,} rows are bad ({counts}); at most {allowed} may be "
                f"set aside. The first: {'; '.join(map(str, self._first))}. Correct the rows, or set the run "
                "parameter bad_rows to a larger number or share"
            )
        if count:
            progress(f"{count:,} rows set aside: {counts} ({BAD_ROWS})")
        return counts
