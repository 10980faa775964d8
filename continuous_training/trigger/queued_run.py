"""The records of the queue: a run, its start, its cancellation and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Value


@dataclass(frozen=True)
class QueuedRun:
    """A run that a caller requested.

    `number` counts the runs of the workload, and `requested` is the time in ISO 8601. `parameters` are those
    of the request. `key` is the idempotency key, and `version` the pinned version of the pipeline, if any.
    """

    id: str
    workload: str
    number: int
    requested: str
    trigger: RunTrigger
    parameters: Mapping[str, Value] = field(default_factory=dict)
    key: str = ""
    version: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> QueuedRun:
        """Read a run."""
        return cls(
            id=document.text("id"),
            workload=document.text("workload"),
            number=document.integer("number"),
            requested=document.text("requested"),
            trigger=RunTrigger.from_json(document.nested("trigger")),
            parameters=document.scalars("parameters"),
            key=document.text("key", ""),
            version=document.text("version", ""),
        )

    def to_json(self) -> Json:
        """Return the stored fields."""
        return {**vars(self), "trigger": self.trigger.to_json(), "parameters": dict(self.parameters)}

    def is_equivalent(self, parameters: Mapping[str, Value], version: str) -> bool:
        """Return whether a request with these parameters and this version asks for the same run."""
        return dict(self.parameters) == dict(parameters) and self.version == version


@dataclass(frozen=True)
class StartedRun:
    """The pipeline's own id of a started run, its address in a user interface, and its local process."""

    run: str
    page: str = ""
    process: int = 0
    time: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> StartedRun:
        """Read the start of a run."""
        return cls(
            run=document.text("run"),
            page=document.text("page", ""),
            process=document.integer("process", 0),
            time=document.text("time"),
        )

    def to_json(self) -> Json:
        """Return the stored fields."""
        return dict(vars(self))


@dataclass(frozen=True)
class RunStatus:
    """The state of a run that was started: `verdict` is empty until it ends.

    `steps` are the states of its steps. `report` is the path of the report of a local run.
    """

    verdict: str = ""
    reasons: tuple[str, ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)
    report: str = ""
    endpoint: str = ""
    time: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> RunStatus:
        """Read the end of a run."""
        return cls(
            verdict=document.text("verdict"),
            reasons=document.text_list("reasons", []),
            steps=document.texts("steps", {}),
            report=document.text("report", ""),
            endpoint=document.text("endpoint", ""),
            time=document.text("time", ""),
        )

    def to_json(self) -> Json:
        """Return the stored fields."""
        return {**vars(self), "reasons": list(self.reasons), "steps": dict(self.steps)}
