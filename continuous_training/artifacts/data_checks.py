"""The results of prep-data's checks of the rows as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from continuous_training.artifacts.bad_rows import BadRowCounts
from continuous_training.artifacts.dataset_manifest import DatasetManifest, Overlap
from continuous_training.artifacts.source_files import SourceFiles
from continuous_training.core.json_object import Json, JsonObject


@dataclass(frozen=True)
class DataChecks:
    """The numbers that prep-data checked.

    `rows` are by split. `classes` has the numbers of rows by split of each declared value of the column
    `label`; empty for a regression. `overlap` and `bad_rows` are None for the data of earlier versions.
    `gap_rows` counts the rows in the gap of a split by time, which are in neither split. `source_files` is
    None if all files of the source were read. `duplicates` counts the rows that were not read because an
    earlier row is equal.
    """

    label: str
    rows: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    overlap: Overlap | None = None
    bad_rows: BadRowCounts | None = None
    gap_rows: int = 0
    source_files: SourceFiles | None = None
    duplicates: int = 0

    @classmethod
    def of(cls, manifest: DatasetManifest, label: str) -> DataChecks:
        """Return the checks of a dataset with the label column `label`."""
        counts = {
            name: (split.statistics[label].counts if label in split.statistics else None) or {}
            for name, split in manifest.splits.items()
        }
        values = dict.fromkeys(value for split in counts.values() for value in split)
        return cls(
            label=label,
            rows={name: split.rows for name, split in manifest.splits.items()},
            classes={
                value: {name: int(split.get(value, 0)) for name, split in counts.items()} for value in values
            },
            overlap=manifest.overlap,
            bad_rows=manifest.bad_rows,
            gap_rows=manifest.gap_rows,
            source_files=manifest.source_files,
            duplicates=manifest.duplicates,
        )

    @classmethod
    def from_json(cls, document: JsonObject) -> DataChecks:
        """Read the checks."""
        return cls(
            label=document.text("label"),
            rows=_counts(document.nested("rows")),
            classes=document.items("classes", _counts, {}),
            overlap=document.optional("overlap", Overlap.from_json),
            bad_rows=document.optional("bad_rows", BadRowCounts.from_json),
            gap_rows=document.integer("gap_rows", 0),
            source_files=document.optional("source_files", SourceFiles.from_json),
            duplicates=document.integer("duplicates", 0),
        )

    def to_json(self) -> Json:
        """Return the fields."""
        return {
            "label": self.label,
            "rows": dict(self.rows),
            "classes": {value: dict(counts) for value, counts in self.classes.items()},
            "overlap": self.overlap.to_json() if self.overlap else None,
            "bad_rows": self.bad_rows.to_json() if self.bad_rows else None,
            **({"gap_rows": self.gap_rows} if self.gap_rows else {}),
            **({"source_files": self.source_files.to_json()} if self.source_files else {}),
            **({"duplicates": self.duplicates} if self.duplicates else {}),
        }


def _counts(document: JsonObject) -> dict[str, int]:
    return {name: document.integer(name) for name in document.value}
