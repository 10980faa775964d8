"""The model bundle: a folder with the model's files, the handler's code and `model.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from continuous_training.artifacts.column_statistics import ColumnStatistics, statistics_to_json
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Value

METADATA = "model.json"
FORMAT = 1
"""The current format of `model.json`. A file without the field `format` has format 1.

Format 1 is written without the field, because the bytes of `model.json` are part of the model's digest.
"""

_PICKLE_SUFFIXES = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"}
_PICKLE_HEADERS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""The first bytes of a pickle, for protocol 2 and later: https://docs.python.org/3/library/pickletools.html"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HANDLER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class TensorSpec:
    """One named input or output of a model. `datatype` is a name of the Open Inference Protocol v2.

    `minimum` and `maximum` are the inclusive range of the elements, None without a limit. They are stored
    only if they are set: the bytes of `model.json` are part of the model's digest.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> TensorSpec:
        """Read a tensor; `shape` must be a list of whole numbers."""
        shape = document.array("shape")
        if not all(type(size) is int for size in shape):
            raise document.invalid("shape", "a list of whole numbers")
        return cls(
            name=document.text("name"),
            datatype=document.text("datatype"),
            shape=tuple(shape),
            minimum=document.optional_number("minimum"),
            maximum=document.optional_number("maximum"),
        )

    def to_json(self) -> Json:
        """Return the tensor as it is stored: the metadata of the protocol and the range."""
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        return {**self.metadata(), **{key: limit for key, limit in limits.items() if limit is not None}}

    def metadata(self) -> Json:
        """Return the tensor as the protocol's model metadata contains it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Signature:
    """The data with which a server loads a model: its name, its handler (`module:Class`) and its tensors."""

    name: str
    handler: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def from_json(cls, document: JsonObject) -> Signature:
        """Read the four fields, which `model.json` and `archive.json` both have."""
        for key, pattern, example in (
            ("name", _NAME, "digits"),
            ("handler", _HANDLER, "package.module:Class"),
        ):
            if not pattern.fullmatch(document.text(key)):
                raise document.invalid(key, f"of the form {example}")
        tensors = {}
        for key in ("inputs", "outputs"):
            tensors[key] = tuple(TensorSpec.from_json(item) for item in document.nested_list(key))
            if not tensors[key]:
                raise document.invalid(key, "a list with at least one tensor")
        return cls(document.text("name"), document.text("handler"), tensors["inputs"], tensors["outputs"])

    def to_json(self) -> Json:
        """Return the four fields."""
        return {
            "name": self.name,
            "handler": self.handler,
            "inputs": [tensor.to_json() for tensor in self.inputs],
            "outputs": [tensor.to_json() for tensor in self.outputs],
        }


@dataclass(frozen=True)
class SplitSummary:
    """The number of rows of a split, and their fingerprint."""

    rows: int
    fingerprint: str

    @classmethod
    def from_json(cls, document: JsonObject) -> SplitSummary:
        """Read the two fields."""
        return cls(document.integer("rows"), document.text("fingerprint"))

    def to_json(self) -> Json:
        """Return the two fields."""
        return {"rows": self.rows, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class TrainingData:
    """The rows that a model was trained on, and the holdout of the same dataset.

    `statistics` describes each column of the training rows; `sample` marks the workload's sample data.
    Older bundles have no `holdout`. `split` is stored for a split by group or time only: the bytes of
    `model.json` are part of the model's digest, and `split_rule` describes the other splits completely.
    `gap_rows` counts the rows in the gap of a split by time.
    """

    fingerprint: str
    rows: int
    sample: bool
    split_rule: str
    holdout: SplitSummary | None
    statistics: Mapping[str, ColumnStatistics]
    split: SplitRule | None = None
    gap_rows: int = 0

    @classmethod
    def from_json(cls, document: JsonObject) -> TrainingData:
        """Read the field `data` of `model.json`."""
        return cls(
            fingerprint=document.text("fingerprint"),
            rows=document.integer("rows"),
            sample=document.boolean("sample", False),
            split_rule=document.text("split_rule", ""),
            holdout=SplitSummary.from_json(document.nested("holdout")) if "holdout" in document else None,
            statistics=document.items("statistics", ColumnStatistics.from_json, {}),
            split=document.optional("split", SplitRule.from_json),
            gap_rows=document.integer("gap_rows", 0),
        )

    def to_json(self) -> Json:
        """Return the field `data` of `model.json`."""
        return {
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "sample": self.sample,
            "split_rule": self.split_rule,
            **({"holdout": self.holdout.to_json()} if self.holdout else {}),
            "statistics": statistics_to_json(self.statistics),
            **({"split": self.split.to_json()} if self.split else {}),
            **({"gap_rows": self.gap_rows} if self.gap_rows else {}),
        }


@dataclass(frozen=True)
class TrainingRecord:
    """How a model was trained. `curve` and `notes` are the workload's own; they are shown in the report.

    `input_digest` is that of the training, `prepared_input_digest` that of the dataset (they differ when the
    training got other parameters), and `code` the digest of the workload's Python files.
    `modules` are the sha256 of these files and of the modules that they import, by path; empty in older
    bundles.
    """

    data: TrainingData
    parameters: Mapping[str, Value]
    input_digest: str
    prepared_input_digest: str
    code: str
    modules: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[Json, ...] = ()
    notes: Json = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: JsonObject) -> TrainingRecord:
        """Read the fields of `model.json` that the train step adds."""
        digest = document.text("recipe")
        return cls(
            data=TrainingData.from_json(document.nested("data")),
            parameters=document.scalars("parameters"),
            input_digest=digest,
            prepared_input_digest=document.text("prepared", digest),
            code=document.text("code"),
            modules=document.texts("modules", {}),
            curve=tuple(document.array("curve", [])),
            notes=document.mapping("notes", {}),
        )

    def to_json(self) -> Json:
        """Return the fields under their stored names."""
        return {
            "data": self.data.to_json(),
            "parameters": dict(self.parameters),
            "recipe": self.input_digest,
            "prepared": self.prepared_input_digest,
            "code": self.code,
            "modules": dict(self.modules),
            "curve": [dict(step) for step in self.curve],
            "notes": dict(self.notes),
        }


@dataclass(frozen=True)
class BundleMetadata:
    """The content of `model.json`. `training` is None for a bundle that the train step did not write.

    `request_schema` and `response_schema` are JSON Schemas; empty when the workload declares none.
    `platform` overrides the platform that the server reports.
    """

    signature: Signature
    summary: str = ""
    request_schema: Json = field(default_factory=dict)
    response_schema: Json = field(default_factory=dict)
    platform: str | None = None
    training: TrainingRecord | None = None

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.signature.name

    @classmethod
    def read(cls, bundle: Path) -> BundleMetadata:
        """Read `model.json` of a bundle. Raises ArchiveError when it is missing or damaged."""
        path = bundle / METADATA
        if not path.is_file():
            raise ArchiveError(f"{bundle} contains no {METADATA}: it is not a model bundle")
        return cls.from_json(JsonObject.read(path, ArchiveError))

    @classmethod
    def from_json(cls, document: JsonObject) -> BundleMetadata:
        """Read the metadata. Raises the document's error for a missing or damaged field."""
        document.require_format(FORMAT, 1)
        return cls(
            signature=Signature.from_json(document),
            summary=document.text("summary", ""),
            request_schema=document.mapping("request_schema", {}),
            response_schema=document.mapping("answer_schema", {}),
            platform=document.optional_text("platform"),
            training=TrainingRecord.from_json(document) if "recipe" in document else None,
        )

    def to_json(self) -> Json:
        """Return the content of `model.json`."""
        return {
            **self.signature.to_json(),
            "summary": self.summary,
            "request_schema": dict(self.request_schema),
            "answer_schema": dict(self.response_schema),
            **({"platform": self.platform} if self.platform else {}),
            **(self.training.to_json() if self.training else {}),
        }

    def require_training(self, bundle: Path) -> TrainingRecord:
        """Return the training record. Raises ArchiveError for a bundle without one."""
        if self.training is None:
            raise ArchiveError(
                f"{bundle / METADATA} has no field recipe; write the bundle with the train step"
            )
        return self.training


def reject_pickles(bundle: Path, name: str) -> None:
    """Raise ArchiveError when a file of the bundle is a pickle, because loading a pickle can run any code.

    `name` is the workload that wrote the bundle.
    """
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            header = file.read(2)
        if path.suffix in _PICKLE_SUFFIXES or header in _PICKLE_HEADERS:
            raise ArchiveError(
                f"{name} wrote {path.relative_to(bundle)}, which is a pickle. Loading a pickle can run any "
                "code, so pickles are not archived or served. Write the model as ONNX, numpy arrays or JSON"
            )
