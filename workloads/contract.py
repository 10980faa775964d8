"""The workload contract: everything that differs between two models.

A workload is a folder `workloads/NAME` with a `workload.py` that defines a subclass of `Workload` and the
line `WORKLOAD = ItsClass`. The class defines the data source (`load`), the columns (`columns`), the training
(`train`), the requests (`handler`, `tensors`, `request`) and the promotion rule (`rule`). Splitting,
validation, evaluation, archiving and serving are the same for all workloads and belong to the steps.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa

from continuous_training.artifacts.bad_rows import BadRow, BadRowType
from continuous_training.artifacts.parquet_rows import StoredRows
from continuous_training.artifacts.source_files import OmissionReason, OmittedFile
from continuous_training.core.expected_digests import DIGESTS
from continuous_training.core.progress import Progress
from continuous_training.core.run_parameters import Parameter, Value, Values, parse_values
from continuous_training.evaluation.promotion_rule import PromotionRule, gate_parameters, override_rule
from continuous_training.evaluation.required_rows import require_achievable

from .approval import approval_parameters, check_approval
from .columns import Column, Rows
from .handler import Handler, Tensors
from .load_context import Fetch, LoadContext
from .splits import GroupSplit, KeySplit, Split, TimeSplit, override_split, split_parameters

Schema = dict[str, Any]
"""A JSON Schema (2020-12). `workloads.schemas` has functions to build one."""


class Checkpoints(Protocol):
    """Stores the state of a training, so that a retry continues from it.

    A checkpoint belongs to one input digest and is deleted when the step has succeeded.
    """

    def latest(self) -> bytes | None:
        """Return the state of the latest checkpoint, or None."""

    def save(self, state: bytes) -> None:
        """Replace the latest checkpoint atomically."""


@dataclass(frozen=True)
class Training:
    """The result of a training besides its files: the learning curve (one dict per step), and notes."""

    curve: list[dict[str, float]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


COMMON = (
    Parameter("source", "", "the data source; empty: the workload's default"),
    Parameter(
        "sha256",
        "",
        "the sha256 that the source must have: of its only file, or NAME=SHA256 of each file",
        pattern=DIGESTS,
        example="64 hexadecimal digits, or NAME=DIGITS,NAME=DIGITS",
    ),
    Parameter("expected_rows", 0, "the number of rows that the source must have; 0: not known", minimum=0),
    Parameter("test_size", 0.2, "share of the rows in the holdout", minimum=0.05, maximum=0.5),
    Parameter("seed", 0, "seed of all random numbers", minimum=0, maximum=2**31 - 1, shapes_data=False),
    Parameter(
        "as_of",
        "",
        "logical time of the data, for a backfill; empty: the run's scheduled time",
        pattern=r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z?)?",
        reads=datetime.fromisoformat,
        example="2024-01-31 or 2024-01-31T06:00Z",
    ),
    Parameter("force", False, "train and evaluate even if the data has not changed"),
    Parameter(
        "accept",
        "",
        "the reason to accept data or a challenger that a run rejected, for one run; recorded permanently",
        pattern=r".{1,300}",
        example="a reason of at most 300 characters",
    ),
)
"""The run parameters of every workload. A workload whose `load` depends on the seed declares `seed` again."""


class Workload(ABC):
    """A model, its data and its promotion rule. Subclass it in `workloads/NAME/workload.py`.

    Required attributes:
        name, summary: the folder's name, and one line of text.
        task: `classification` or `regression`.
        columns, key, target: the columns of the raw data, the column that identifies a row, the label column.
        prediction: the handler's output that predicts the label column.
        default_source: the data source if the run parameter `source` is empty.
        handler, rule: the handler class and the promotion rule.

    Optional attributes:
        minimum_rows: the smallest number of rows that a load may return.
        minimum_class_rows: the smallest number of rows of each declared label value in each split.
        bad_rows: the number of invalid rows that prep-data may set aside, or their share of all rows if it is
            below 1. The default is the one of the run parameter `bad_rows`.
        overlap_share: the largest share of holdout rows with the same content (without key and label) as a
            training row. Set 1 if equal rows are normal, as in a table with few distinct values.
        approval: "required" if a person must approve each version before it is served. A run cannot change
            this. "" leaves the decision to the run parameter `approval`.
        approval_days: the number of days that a version waits for approval.
        split: how rows are held out: `KeySplit()`, the default, `GroupSplit("shop")`, or
            `TimeSplit("date", holdout="30d", gap="7d")`.
        moving_columns: the columns whose values are expected to move without bounds, such as a date. They are
            not compared with the champion's data when the gate decides whether the population is the same.
        extras: the extras of setup.cfg that training may need, for example `("torch",)`.
        sample_source: the source of a small sample that ships with the code. Logs, registry and report mark
            a model that was trained on it as a trial.
        intended, limits: the model card's sections on intended use and limitations.
        distributed: whether `train` may run in several processes started by torchrun. Each gets all rows and
            the same values; they share the work with `workloads.distributed`, and rank 0 writes the model.
        certainty: the handler's output with the confidence of a prediction, one number per row. The report
            shows the errors with the highest confidence.
        request_schema, answer_schema: JSON Schemas of request and response. If empty, they are inferred from
            the golden requests.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    task: ClassVar[Literal["classification", "regression"]]
    columns: ClassVar[tuple[Column, ...]]
    key: ClassVar[str]
    target: ClassVar[str]
    default_source: ClassVar[str]
    sample_source: ClassVar[str] = ""
    intended: ClassVar[str] = ""
    limits: ClassVar[str] = ""
    handler: ClassVar[type[Handler]]
    prediction: ClassVar[str]
    certainty: ClassVar[str] = ""
    rule: ClassVar[PromotionRule]
    own_parameters: ClassVar[tuple[Parameter, ...]] = ()
    minimum_rows: ClassVar[int] = 100
    minimum_class_rows: ClassVar[int] = 1
    bad_rows: ClassVar[float] = 0
    overlap_share: ClassVar[float] = 0.1
    approval: ClassVar[str] = ""
    approval_days: ClassVar[int] = 7
    split: ClassVar[Split] = KeySplit()
    moving_columns: ClassVar[tuple[str, ...]] = ()
    extras: ClassVar[tuple[str, ...]] = ()
    distributed: ClassVar[bool] = False
    request_schema: ClassVar[Schema] = {}
    answer_schema: ClassVar[Schema] = {}

    @abstractmethod
    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the raw rows of `source` in batches, in the schema of `columns`.

        If the data has its own split, a batch has an additional column `split` with the values `train` and
        `holdout`. Otherwise rows are split as `split` states. Raises UserError if the source matches
        nothing or cannot be read.
        """

    @abstractmethod
    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Train on the rows, and write the files that the handler loads into `output`."""

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Train on rows that are stored on disk. The pipeline calls this method.

        The default implementation reads all rows and calls `train`. Override it if the rows may not fit into
        memory: `rows.batches()` reads them in batches, as often as needed.
        """
        return self.train(rows.table(), values, output, progress)

    @abstractmethod
    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the handler's input tensors for the rows. The label column must not be used."""

    @abstractmethod
    def request(self, row: pa.Table) -> Any:
        """Return the JSON request for one row (a table with one row), as a client would send it."""

    def needs(self, values: Values) -> tuple[str, ...]:
        """Return the extras that training with these parameters needs: by default all of `extras`."""
        return self.extras

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return the slices of the holdout: a boolean mask by name.

        The method is called for batches of rows, so the mask of a row must depend only on this row.
        """
        return {}

    def single_feature(self, values: Values) -> str:
        """Return the only feature column of a model with these parameters, or an empty string.

        The report of a regression then plots the label column and the fit over this column.
        """
        return ""

    def pictures(self, rows: pa.Table) -> np.ndarray | None:
        """Return an image of each row for the report, or None if rows are not images.

        Shape [rows, height, width] or [rows, height, width, 3], dtype uint8, 0 is black.
        """
        return None

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return all run parameters: the workload's own, the common ones, the split's and the gate's."""
        own_names = {parameter.name for parameter in cls.own_parameters}
        shared = (
            *COMMON,
            _bad_rows_parameter(cls.bad_rows),
            *approval_parameters(cls.approval, cls.approval_days),
            *split_parameters(cls.split),
            *gate_parameters(cls.rule),
        )
        return cls.own_parameters + tuple(p for p in shared if p.name not in own_names)

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Values:
        """Return a value for each run parameter. Raises UserError for a value that is not allowed."""
        values = parse_values(cls.parameters(), given)
        cls.rule_of(values)
        cls.split_of(values)
        check_approval(cls.name, cls.approval, values)
        return values

    @classmethod
    def rule_of(cls, values: Values) -> PromotionRule:
        """Return the promotion rule of a run. Raises UserError if it is invalid or cannot be fulfilled."""
        rule = override_rule(cls.rule, values, cls.task, cls.slices is not Workload.slices)
        require_achievable(rule, len(cls.column(cls.target).values))
        return rule

    @classmethod
    def split_of(cls, values: Values) -> Split:
        """Return the split of a run. Raises UserError for a column or a value that cannot be used."""
        defaults = {parameter.name: parameter.default for parameter in cls.parameters()}
        return override_split(values, defaults, cls.columns)

    @classmethod
    def column(cls, name: str) -> Column:
        """Return the column of that name."""
        return next(column for column in cls.columns if column.name == name)

    @classmethod
    def schema(cls) -> pa.Schema:
        """Return the Arrow schema of the raw rows."""
        return pa.schema([pa.field(c.name, c.arrow, nullable=False) for c in cls.columns])


def _bad_rows_parameter(default: float) -> Parameter:
    return Parameter(
        "bad_rows",
        float(default),
        "number of invalid rows that may be set aside; below 1: their share of all rows",
        minimum=0,
    )


class Resumable(Workload):
    """A workload whose training continues from the latest checkpoint after an interruption."""

    @abstractmethod
    def train(
        self,
        rows: pa.Table,
        values: Values,
        output: Path,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
    ) -> Training:
        """Train as `Workload.train` does, starting from the latest checkpoint, and save checkpoints."""


__all__ = [
    "COMMON",
    "BadRow",
    "BadRowType",
    "Checkpoints",
    "Column",
    "Fetch",
    "GroupSplit",
    "Handler",
    "KeySplit",
    "LoadContext",
    "OmissionReason",
    "OmittedFile",
    "Parameter",
    "Progress",
    "PromotionRule",
    "Resumable",
    "Rows",
    "Schema",
    "Split",
    "StoredRows",
    "Tensors",
    "TimeSplit",
    "Training",
    "Value",
    "Values",
    "Workload",
]


def __getattr__(name: str) -> Any:
    """Return a class under its former name, with a DeprecationWarning."""
    if name == "Rule":
        warnings.warn(
            "workloads.contract.Rule is now PromotionRule; the former name works until version 0.4",
            DeprecationWarning,
            stacklevel=2,
        )
        return PromotionRule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
