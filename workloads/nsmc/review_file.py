"""Read the files of the corpus: `id<TAB>document<TAB>label` with a header, UTF-8, gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa

from continuous_training.core.errors import UserError

BLOCK = 10_000
HEADER = b"id\tdocument\tlabel"


class Reviews(NamedTuple):
    """Consecutive rows of a file: the columns id, document and label. The first row is line `line`."""

    columns: list[pa.Array]
    line: int


def read_reviews(path: Path) -> Iterator[Reviews]:
    """Yield the rows of the file in blocks of BLOCK rows.

    Raises UserError, with the line number, for a line that does not have three cells, text that is not
    UTF-8, or a label that is not 0 or 1. Raises UserError if the file cannot be read.
    """
    try:
        with open_review_file(path) as file:
            if file.readline().rstrip(b"\r\n") != HEADER:
                raise UserError(
                    f"{path.name}, row 1: expected is the header id, document, label, separated by tabs"
                )
            line = 2
            while lines := list(islice(file, BLOCK)):
                yield Reviews(_columns(lines, path.name, line), line)
                line += len(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}); is the file complete?") from None


def open_review_file(path: Path) -> BinaryIO:
    """Open a file for reading, and decompress it if it is gzipped."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


def _columns(lines: list[bytes], name: str, first: int) -> list[pa.Array]:
    cells = [line.rstrip(b"\r\n").split(b"\t") for line in lines]
    for line, row in enumerate(cells, first):
        if len(row) != 3:
            raise UserError(f"{name}, row {line}: {len(row)} cells; expected are id, document and label")
    ids, documents, labels = (pa.array(column, pa.binary()) for column in zip(*cells, strict=True))
    try:
        return [ids.cast(pa.string()), documents.cast(pa.string()), labels.cast(pa.string()).cast(pa.int64())]
    except pa.ArrowInvalid:
        raise _first_error(cells, name, first) from None


def _first_error(cells: list[list[bytes]], name: str, first: int) -> UserError:
    for line, row in enumerate(cells, first):
        for column, cell in zip(("id", "document", "label"), row, strict=True):
            try:
                text = cell.decode()
            except UnicodeDecodeError as error:
                return UserError(f"{name}, row {line}, column {column}: not UTF-8 ({error.reason})")
            if column == "label" and text not in ("0", "1"):
                return UserError(f"{name}, row {line}, column label: {text!r:.40} is neither 0 nor 1")
    raise AssertionError("unreachable: Arrow rejected one of these cells")
