"""The evaluation artifact `evaluation.json`: a comparison with the champion, and its decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.measurements import (
    ColumnDrift,
    Interval,
    PairedTest,
    ServingCost,
    SliceMetric,
)
from continuous_training.artifacts.population import PopulationChange
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.files import plain
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Value

FORMAT = 1
"""The current format of `evaluation.json`. A file without the field `format` has format 1."""


@dataclass(frozen=True)
class EvaluatedChampion:
    """The champion of an evaluation: version, archive digest, and its metrics on the same holdout rows.

    `seen_rows` is the number of holdout rows that it may have been trained on; None in older evaluations.
    """

    version: str
    digest: str
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    seen_rows: int | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> EvaluatedChampion:
        """Read the champion."""
        metrics = document.items("metrics", Interval.from_json)
        seen_rows = document.integer("seen_rows") if "seen_rows" in document else None
        return cls(document.text("version"), document.text("digest"), metrics, seen_rows)


@dataclass(frozen=True)
class EvaluatedData:
    """The identity of the dataset that a challenger was trained and evaluated on."""

    fingerprint: str
    source: str
    as_of: str
    split_rule: str
    sample: bool

    @classmethod
    def from_json(cls, document: JsonObject) -> EvaluatedData:
        """Read the identity of the dataset. Older files do not mark sample data."""
        return cls(
            fingerprint=document.text("fingerprint"),
            source=document.text("source"),
            as_of=document.text("as_of"),
            split_rule=document.text("split_rule"),
            sample=document.boolean("sample", False),
        )


@dataclass(frozen=True)
class Bootstrap:
    """The settings of the bootstrap: confidence of the deciding intervals, number of resamples, seed."""

    confidence: float
    resamples: int
    seed: int

    @classmethod
    def from_json(cls, document: JsonObject) -> Bootstrap:
        """Read the settings."""
        return cls(document.number("confidence"), document.integer("resamples"), document.integer("seed"))


@dataclass(frozen=True)
class TrackingRun:
    """The MLflow run of an evaluation: its id and its page."""

    run: str
    url: str

    @classmethod
    def from_json(cls, document: JsonObject) -> TrackingRun:
        """Read id and page."""
        return cls(document.text("run"), document.text("url"))

    def to_json(self) -> dict[str, str]:
        """Return id and page."""
        return {"run": self.run, "url": self.url}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The record of one evaluation.

    `reasons` are the deciding checks as sentences. `rule` is the promotion rule as stored by
    `PromotionRule.to_json`. `metrics` are the challenger's, the primary one first. `difference` is the paired
    improvement in the primary metric and `guards` those in the guard metrics. `test` is the paired test of
    the primary metric, and `guard_tests` has the tests of the guard metrics. `input_digest` is stored under
    the key `recipe`. `modules` are the sha256 of the modules with which the model was trained, by path; empty
    in older evaluations. `population` compares the data with those that the champion was promoted on, and
    `accepted` is the reason for which a person accepted the data or the challenger; older evaluations have
    neither. `trigger` is the caller of the trigger service who started the run, None for other runs.
    """

    workload: str
    run: str
    verdict: str
    reasons: tuple[str, ...]
    rule: Json
    metrics: Mapping[str, Interval]
    champion: EvaluatedChampion | None = None
    difference: Interval | None = None
    guards: Mapping[str, Interval] = field(default_factory=dict)
    test: PairedTest | None = None
    guard_tests: Mapping[str, PairedTest] = field(default_factory=dict)
    mcnemar_p: float | None = None
    cost: ServingCost | None = None
    champion_cost: ServingCost | None = None
    bootstrap: Bootstrap
    slices: Mapping[str, SliceMetric]
    rows: int
    input_digest: str
    model_digest: str
    parameters: Mapping[str, Value]
    data: EvaluatedData
    code: str
    modules: Mapping[str, str] = field(default_factory=dict)
    registry: TrackingRun
    drift: tuple[ColumnDrift, ...] = ()
    population: PopulationChange | None = None
    accepted: str = ""
    trigger: RunTrigger | None = None

    @property
    def promoted(self) -> bool:
        """Whether the challenger may be served."""
        return self.verdict == "promoted"

    def to_json(self) -> Json:
        """Return the content of `evaluation.json`, with null for NaN and infinite numbers."""
        record = asdict(self)
        record["recipe"] = record.pop("input_digest")
        if self.trigger is None:
            del record["trigger"]
        for column in record["drift"]:
            column["word"] = column.pop("level")
        return {"format": FORMAT, **plain(record)}

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read the file that evaluate writes. Raises ArtifactError when it is missing or damaged."""
        return cls.from_json(JsonObject.read(path, ArtifactError, "run the evaluate step"))

    @classmethod
    def from_json(cls, document: JsonObject) -> Evaluation:
        """Read an evaluation. Raises the document's error for a missing or damaged field."""
        document.require_format(FORMAT, 1)
        return cls(
            workload=document.text("workload"),
            run=document.text("run"),
            verdict=document.text("verdict"),
            reasons=document.text_list("reasons"),
            rule=document.mapping("rule"),
            metrics=document.items("metrics", Interval.from_json),
            champion=document.optional("champion", EvaluatedChampion.from_json),
            difference=document.optional("difference", Interval.from_json),
            guards=document.items("guards", Interval.from_json),
            test=document.optional("test", PairedTest.from_json),
            guard_tests=document.items("guard_tests", PairedTest.from_json, {}),
            mcnemar_p=document.optional_number("mcnemar_p"),
            cost=document.optional("cost", ServingCost.from_json),
            champion_cost=document.optional("champion_cost", ServingCost.from_json),
            bootstrap=Bootstrap.from_json(document.nested("bootstrap")),
            slices=document.items("slices", SliceMetric.from_json),
            rows=document.integer("rows"),
            input_digest=document.text("recipe"),
            model_digest=document.text("model_digest"),
            parameters=document.scalars("parameters"),
            data=EvaluatedData.from_json(document.nested("data")),
            code=document.text("code"),
            modules=document.texts("modules", {}),
            registry=TrackingRun.from_json(document.nested("registry")),
            drift=tuple(map(ColumnDrift.from_json, document.nested_list("drift", []))),
            population=document.optional("population", PopulationChange.from_json),
            accepted=document.text("accepted", ""),
            trigger=document.optional("trigger", RunTrigger.from_json),
        )
