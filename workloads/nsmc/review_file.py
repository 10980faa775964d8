"""Read the files of the corpus: `id<TAB>document<TAB>label` with a header, UTF-8, gzipped or not."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa

from continuous_training.artifacts.bad_rows import BadRow, BadRowType
from continuous_training.core.errors import UserError

from ..load_context import SetAside

BLOCK = 10_000
HEADER = b"id\tdocument\tlabel"
_COLUMNS = ("id", "document", "label")


class Reviews(NamedTuple):
    """Rows of a file: the columns id, document and label, and the line number of each row."""

    columns: list[pa.Array]
    lines: np.ndarray


def read_reviews(path: Path, set_aside: SetAside) -> Iterator[Reviews]:
    """Yield the rows of the file in blocks of up to BLOCK rows. Empty lines are ignored.

    A line that does not have three cells, text that is not UTF-8, or a label that is not a number is passed
    to `set_aside`. Raises UserError if the file has another header or cannot be read.
    """
    try:
        with open_review_file(path) as file:
            if file.readline().rstrip(b"\r\n").removeprefix(codecs.BOM_UTF8) != HEADER:
                raise UserError(
                    f"{path.name}, row 1: expected is the header id, document, label, separated by tabs"
                )
            line = 2
            while lines := list(islice(file, BLOCK)):
                yield _read_block(lines, path.name, line, set_aside)
                line += len(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}); is the file complete?") from None


def open_review_file(path: Path) -> BinaryIO:
    """Open a file for reading, and decompress it if it is gzipped."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


def _read_block(lines: list[bytes], name: str, first: int, set_aside: SetAside) -> Reviews:
    """Return the valid rows of consecutive lines; `first` is the number of the first line."""
    rows: list[list[bytes]] = []
    numbers: list[int] = []
    bad_rows: list[BadRow] = []
    for number, line in enumerate(lines, first):
        cells = line.rstrip(b"\r\n").split(b"\t")
        if len(cells) == len(_COLUMNS):
            rows.append(cells)
            numbers.append(number)
        elif line.strip(b" \r\n"):
            message = f"{len(cells)} cells; expected are id, document and label"
            bad_rows.append(BadRow(name, number, BadRowType.FIELDS, message))
    try:
        columns = _parse(rows)
    except pa.ArrowInvalid:
        bad_cells = _bad_cells(rows, numbers, name)
        bad_rows += bad_cells.values()
        columns = _parse([row for number, row in zip(numbers, rows, strict=True) if number not in bad_cells])
        numbers = [number for number in numbers if number not in bad_cells]
    for row in sorted(bad_rows, key=lambda row: row.row):
        set_aside(row)
    return Reviews(columns, np.array(numbers, dtype=np.int64))


def _parse(rows: list[list[bytes]]) -> list[pa.Array]:
    """Return the columns id, document and label. Raises pa.ArrowInvalid for an invalid cell."""
    ids, documents, labels = (pa.array([row[i] for row in rows], pa.binary()) for i in range(len(_COLUMNS)))
    return [ids.cast(pa.string()), documents.cast(pa.string()), labels.cast(pa.string()).cast(pa.int64())]


def _bad_cells(rows: list[list[bytes]], numbers: Sequence[int], name: str) -> dict[int, BadRow]:
    """Return the first problem of each row with an invalid cell, by its line number."""
    invalid_labels = {label for label in {row[-1] for row in rows} if not _is_integer(label)}
    bad_rows: dict[int, BadRow] = {}
    for number, row in zip(numbers, rows, strict=True):
        try:
            b"\t".join(row).decode()
        except UnicodeDecodeError as error:
            column = next(column for column, cell in zip(_COLUMNS, row, strict=True) if not _is_utf8(cell))
            message = f"not UTF-8 ({error.reason})"
            bad_rows[number] = BadRow(name, number, BadRowType.ENCODING, message, column)
            continue
        if row[-1] in invalid_labels:
            type = BadRowType.NOT_A_NUMBER if row[-1].strip() else BadRowType.MISSING
            message = f"{row[-1].decode()!r:.40} is neither 0 nor 1"
            bad_rows[number] = BadRow(name, number, type, message, "label")
    return bad_rows


def _is_integer(label: bytes) -> bool:
    try:
        _parse([[b"", b"", label]])
    except pa.ArrowInvalid:
        return False
    return True


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True
