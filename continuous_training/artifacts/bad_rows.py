"""Bad rows: rows of a data source that were set aside because they are invalid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json, JsonObject

BAD_ROWS = "bad_rows.jsonl"
"""The file of a dataset with its bad rows: one JSON object per line."""


class BadRowType(StrEnum):
    """The types by which bad rows are counted."""

    FIELDS = "wrong number of fields"
    ENCODING = "invalid encoding"
    MISSING = "missing value"
    NOT_A_NUMBER = "not a number"
    NOT_AN_INTEGER = "not an integer"
    NOT_FINITE = "not finite"
    NOT_A_TIME = "not a time"
    OUT_OF_RANGE = "out of range"
    NOT_ALLOWED = "not an allowed value"


@dataclass(frozen=True)
class BadRow:
    """An invalid row: its position in the source, and the first problem of the row.

    `row` counts from 1. `column` is empty if the row as a whole is invalid. `type` is a BadRowType, or
    another text of a workload.
    """

    file: str
    row: int
    type: str
    message: str
    column: str = ""

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}, row {self.row}{column}: {self.message}"

    @classmethod
    def from_json(cls, document: JsonObject) -> BadRow:
        """Read one line of the file."""
        return cls(
            file=document.text("file"),
            row=document.integer("row"),
            type=document.text("type"),
            message=document.text("message"),
            column=document.text("column", ""),
        )

    def to_json(self) -> Json:
        """Return one line of the file."""
        return {
            "file": self.file,
            "row": self.row,
            "column": self.column,
            "type": str(self.type),
            "message": self.message,
        }


def raise_bad_row(row: BadRow) -> NoReturn:
    """Raise UserError for a bad row. The default where no bad row may be set aside."""
    raise UserError(str(row))


@dataclass(frozen=True)
class BadRowCounts:
    """The number of bad rows of a dataset by type.

    `limit` is the largest allowed number of bad rows, or their largest share if it is below 1. `sha256` is
    the digest of the file with the rows, empty if there are none.
    """

    types: Mapping[str, int]
    limit: float
    sha256: str = ""

    @property
    def rows(self) -> int:
        """The number of bad rows of all types."""
        return sum(self.types.values())

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in self.types.items())

    @classmethod
    def from_json(cls, document: JsonObject) -> BadRowCounts:
        """Read the field `bad_rows` of a dataset's manifest."""
        types = document.nested("types")
        return cls(
            types={name: types.integer(name) for name in types.value},
            limit=document.number("limit"),
            sha256=document.text("sha256", ""),
        )

    def to_json(self) -> Json:
        """Return the field `bad_rows` of a dataset's manifest."""
        return {"rows": self.rows, "types": dict(self.types), "limit": self.limit, "sha256": self.sha256}


def read_bad_rows(folder: Path, counts: BadRowCounts) -> Iterator[BadRow]:
    """Yield the bad rows of the dataset in `folder`. Raises ArtifactError for a damaged or missing file."""
    path = folder / BAD_ROWS
    if not counts.rows:
        return
    if not path.is_file() or digest_file(path) != counts.sha256:
        raise ArtifactError(f"{path} is damaged or missing; prepare the data again")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield BadRow.from_json(JsonObject.parse(line, str(path), ArtifactError))
