"""What a workload is: all that differs between two models.

A workload is one folder under `workloads/` whose `workload.py` holds a subclass of `Workload` and
ends with `WORKLOAD = ItsClass`. It says where rows come from (`load`), what
they look like (`columns`), how a model is made of them (`train`), what a request looks like
(`handler`, `tensors`, `request`) and when a new model is good enough (`rule`). Splitting, checking,
judging, archiving and serving are the components' work and the same for all.
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

from continuous_training.artifacts.parquet_rows import StoredRows
from continuous_training.core.parameters import Parameter, Value, Values, parse_values
from continuous_training.core.progress import Progress
from continuous_training.evaluation.promotion_rule import PromotionRule, gate_parameters, override_rule

from .handler import Handler, Tensors

Schema = dict[str, Any]
"""A JSON Schema (2020-12); `workloads.schemas` has the pieces, and the annotations that the page knows."""


class Checkpoints(Protocol):
    """Where a training puts its state from time to time, and finds that of a try that was cut off.

    It is kept for the same rows, parameters and code alone, and removed when the step has succeeded.
    """

    def latest(self) -> bytes | None:
        """Return the state that was saved last, or None when there is none."""

    def save(self, state: bytes) -> None:
        """Keep `state` in the place of the one before; it is whole or not there."""


@dataclass(frozen=True)
class Column:
    """One column of the raw data, and what is allowed in it.

    `kind` is text, integer, number, bytes, or vector (numbers, `length` of them in each row). `minimum` and
    `maximum` are inclusive; `values` lists the only ones allowed (a label set).
    """

    name: str
    kind: Literal["text", "integer", "number", "bytes", "vector"]
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str | int, ...] = ()
    length: int = 0
    help: str = ""

    @property
    def arrow(self) -> pa.DataType:
        """The column's Arrow type."""
        if self.kind == "vector":
            return pa.list_(pa.float32(), self.length)
        kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "bytes": pa.binary()}
        return kinds[self.kind]


@dataclass(frozen=True)
class Rows:
    """A batch of raw rows and where they stand: row i is number `first + i` of `origin`."""

    batch: pa.RecordBatch
    origin: str
    first: int = 1


@dataclass(frozen=True)
class Training:
    """What training tells beside its files: the learning curve, a dict a step, and notes for the report."""

    curve: list[dict[str, float]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


COMMON = (
    Parameter("source", "", "where the rows come from; empty: the workload's own default"),
    Parameter("test_size", 0.2, "share of the rows held out for judging", minimum=0.05, maximum=0.5),
    Parameter("seed", 0, "seed of everything random", minimum=0, maximum=2**31 - 1, shapes_data=False),
    Parameter(
        "as_of",
        "",
        "logical time of the data, for a backfill; empty: the run's scheduled time",
        pattern=r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?Z?)?",
        reads=datetime.fromisoformat,
        example="2024-01-31 or 2024-01-31T06:00Z",
    ),
    Parameter("force", False, "train and judge even when this data was judged before"),
)
"""The run parameters that every workload has; one whose `load` draws by the seed declares `seed` anew."""


class Workload(ABC):
    """One model's own part of the pipeline; see the module's text.

    `minimum_rows` is the least that a load must bring; `extras` names the setup.cfg extras that
    training may need beyond the common ones, for instance `("torch",)`. `sample_source` is the source that
    stands for a small sample which comes with the code: logs, registry and report say of what was made
    from it that it is a trial. `intended` and `limits` are a sentence or two each for the model card: what
    the model is for, and what it must not be taken for.
    `distributed` says that `train` may run in several processes at once, as torchrun starts them: each gets
    all rows and the same values, they share the work (`workloads.distributed`), and what rank 0 writes is
    the model.
    `certainty` names the handler's output that says how sure an answer is (a number a row, more is surer):
    the report shows the surest mistakes. `request_schema` and `answer_schema` tell callers what the handler
    takes and gives; empty: the golden requests speak.
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
    extras: ClassVar[tuple[str, ...]] = ()
    distributed: ClassVar[bool] = False
    request_schema: ClassVar[Schema] = {}
    answer_schema: ClassVar[Schema] = {}

    @abstractmethod
    def load(self, source: str, values: Values) -> Iterator[Rows]:
        """Yield the raw rows of `source`, batch by batch, in the schema of `columns`.

        A batch may hold one column more, `split`, with `train` or `holdout` in each row, when the data comes
        with a split of its own; otherwise rows are split by a hash of their key. Raises UserError when the
        source matches nothing or cannot be read.
        """

    @abstractmethod
    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Learn from the training rows and write the files that the handler loads into `output`."""

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Do as `train` does, from rows that lie on disk; the pipeline calls this.

        Override it where rows may not fit into memory: `rows.batches()` reads them as often as needed. As it
        stands it reads them whole, for `train`.
        """
        return self.train(rows.table(), values, output, progress)

    @abstractmethod
    def tensors(self, rows: pa.Table) -> Tensors:
        """Turn rows into the handler's input tensors, one row each; the target is not used."""

    @abstractmethod
    def request(self, row: pa.Table) -> Any:
        """Turn one row (a table of one) into the JSON request that a caller would send for it."""

    def needs(self, values: Values) -> tuple[str, ...]:
        """Name the extras that training with these parameters needs: all of `extras`, unless overridden."""
        return self.extras

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Name groups of holdout rows that are judged on their own: name to a boolean mask."""
        return {}

    def single_feature(self, values: Values) -> str:
        """Name the one column that a model with these parameters looks at, empty where there are more.

        The report of a regression draws the target over it, and the fit.
        """
        return ""

    def pictures(self, rows: pa.Table) -> np.ndarray | None:
        """Return a picture of each row for the report: uint8 [n, height, width], 0 black, or with 3 colours.

        None, when rows are no pictures.
        """
        return None

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Every run parameter: the workload's own ones, then the common ones, then the gate's."""
        own = {parameter.name for parameter in cls.own_parameters}
        shared = (*COMMON, *gate_parameters(cls.rule))
        return cls.own_parameters + tuple(p for p in shared if p.name not in own)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Values:
        """Return a value for every run parameter; UserError for what is not allowed."""
        values = parse_values(cls.parameters(), given)
        cls.rule_of(values)
        return values

    @classmethod
    def rule_of(cls, values: Values) -> PromotionRule:
        """The promotion rule of a run with these parameters; UserError for one that cannot be."""
        return override_rule(cls.rule, values, cls.task)

    @classmethod
    def column(cls, name: str) -> Column:
        """The column of that name."""
        return next(column for column in cls.columns if column.name == name)

    @classmethod
    def schema(cls) -> pa.Schema:
        """The Arrow schema of the raw rows."""
        return pa.schema([pa.field(c.name, c.arrow, nullable=False) for c in cls.columns])


class Resumable(Workload):
    """A workload whose training goes on where a try that was cut off had got to."""

    @abstractmethod
    def train(
        self,
        rows: pa.Table,
        values: Values,
        output: Path,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
    ) -> Training:
        """Learn as `Workload.train` does, from the latest checkpoint on, and save one now and then."""


__all__ = [
    "COMMON",
    "Checkpoints",
    "Column",
    "Handler",
    "Parameter",
    "Progress",
    "PromotionRule",
    "Resumable",
    "Rows",
    "Schema",
    "StoredRows",
    "Tensors",
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
