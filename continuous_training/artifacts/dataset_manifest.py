"""The manifest of a dataset: `dataset.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from continuous_training.artifacts.bad_rows import BadRowCounts
from continuous_training.artifacts.column_statistics import ColumnStatistics, statistics_to_json
from continuous_training.artifacts.run_inputs import RunInputs
from continuous_training.artifacts.source_files import SourceFiles
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.json_checksum import verify_checksum, with_checksum
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Values

MANIFEST = "dataset.json"
FORMAT = 1
"""The current format of `dataset.json`. A file without the field `format` has format 1."""


@dataclass(frozen=True)
class ColumnDescription:
    """The name and the kind of a column, and a help text for people."""

    name: str
    kind: str
    help: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> ColumnDescription:
        """Read one entry of `schema`."""
        return cls(document.text("name"), document.text("kind"), document.text("help", ""))

    def to_json(self) -> Json:
        """Return one entry of `schema`."""
        return {"name": self.name, "kind": self.kind, "help": self.help}


@dataclass(frozen=True)
class Overlap:
    """The number of holdout rows whose content also occurs in the training rows, under another key.

    `near` also counts rows that differ in case and white space of a text.
    """

    exact: int
    near: int

    @classmethod
    def from_json(cls, document: JsonObject) -> Overlap:
        """Read the field `overlap`."""
        return cls(document.integer("exact"), document.integer("near"))

    def to_json(self) -> Json:
        """Return the field `overlap`."""
        return {"exact": self.exact, "near": self.near}


@dataclass(frozen=True)
class SplitManifest:
    """The rows of one split: their number, their fingerprint, and statistics by column.

    `sha256` is the digest of the Parquet file; empty in older manifests.
    """

    rows: int
    fingerprint: str
    statistics: Mapping[str, ColumnStatistics]
    sha256: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> SplitManifest:
        """Read one entry of `splits`."""
        return cls(
            rows=document.integer("rows"),
            fingerprint=document.text("fingerprint"),
            statistics=document.items("statistics", ColumnStatistics.from_json, {}),
            sha256=document.text("sha256", ""),
        )

    def to_json(self) -> Json:
        """Return one entry of `splits`."""
        return {
            "rows": self.rows,
            "fingerprint": self.fingerprint,
            "statistics": statistics_to_json(self.statistics),
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class DatasetManifest:
    """The content of `dataset.json`.

    `fingerprint` is the digest of the content of all rows, `input_digest` that of everything that decides the
    result of a run. `sample` marks the workload's sample data. `as_of` is the logical time of the data in
    ISO 8601. `overlap`, `inputs`, `split` and `bad_rows` are None in older manifests. `reasons` state why the
    run trains, as lines of text: the inputs that have changed since the run before. `gap_rows` is the number
    of rows in the gap of a split by time, which are in neither file. `source_files` is None if all files of
    the source were read. `duplicates` counts the rows that were not read because an earlier row is equal.
    """

    workload: str
    source: str
    schema: tuple[ColumnDescription, ...]
    split_rule: str
    fingerprint: str
    train: SplitManifest
    holdout: SplitManifest
    sample: bool
    as_of: str
    parameters: Values
    input_digest: str
    overlap: Overlap | None = None
    inputs: RunInputs | None = None
    reasons: tuple[str, ...] = ()
    split: SplitRule | None = None
    gap_rows: int = 0
    bad_rows: BadRowCounts | None = None
    source_files: SourceFiles | None = None
    duplicates: int = 0

    @property
    def splits(self) -> dict[str, SplitManifest]:
        """Both splits by name."""
        return {"train": self.train, "holdout": self.holdout}

    @classmethod
    def from_json(cls, document: JsonObject) -> DatasetManifest:
        """Read a manifest. Raises the document's error for a missing, damaged or altered field."""
        document.require_format(FORMAT, 1)
        verify_checksum(document, "prepare the data again")
        splits = document.nested("splits")
        return cls(
            workload=document.text("workload"),
            source=document.text("source"),
            schema=tuple(ColumnDescription.from_json(item) for item in document.nested_list("schema", [])),
            split_rule=document.text("split_rule"),
            fingerprint=document.text("fingerprint"),
            train=SplitManifest.from_json(splits.nested("train")),
            holdout=SplitManifest.from_json(splits.nested("holdout")),
            sample=document.boolean("sample", False),
            as_of=document.text("as_of", ""),
            parameters=document.mapping("parameters"),
            input_digest=document.text("recipe"),
            inputs=document.optional("inputs", RunInputs.from_json),
            reasons=document.text_list("reasons", []),
            split=document.optional("split", SplitRule.from_json),
            gap_rows=document.integer("gap_rows", 0),
            overlap=document.optional("overlap", Overlap.from_json),
            bad_rows=document.optional("bad_rows", BadRowCounts.from_json),
            source_files=document.optional("source_files", SourceFiles.from_json),
            duplicates=document.integer("duplicates", 0),
        )

    def to_json(self) -> Json:
        """Return the content of `dataset.json`, with a checksum of all other fields."""
        content = {
            "format": FORMAT,
            "workload": self.workload,
            "source": self.source,
            "schema": [column.to_json() for column in self.schema],
            "split_rule": self.split_rule,
            "fingerprint": self.fingerprint,
            "splits": {name: split.to_json() for name, split in self.splits.items()},
            "sample": self.sample,
            "as_of": self.as_of,
            "parameters": dict(self.parameters),
            "recipe": self.input_digest,
            **({"overlap": self.overlap.to_json()} if self.overlap else {}),
            **({"inputs": self.inputs.to_json()} if self.inputs else {}),
            "reasons": list(self.reasons),
            **({"split": self.split.to_json()} if self.split else {}),
            **({"gap_rows": self.gap_rows} if self.gap_rows else {}),
            **({"bad_rows": self.bad_rows.to_json()} if self.bad_rows else {}),
            **({"source_files": self.source_files.to_json()} if self.source_files else {}),
            **({"duplicates": self.duplicates} if self.duplicates else {}),
        }
        return with_checksum(content)
