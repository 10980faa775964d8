"""The result of a run of a pipeline, and the plan of a local run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import Value


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    `metrics` are those of the challenger, `version` and `digest` those of a promoted model
    or of one that waits. `seconds` are by
    step. `report` is the path of the report. A local run has a `state` directory, a cluster run a `page`.
    `approve` is the command that approves a version that waits, otherwise empty.
    """

    workload: str
    run: str
    verdict: str
    reasons: tuple[str, ...]
    metrics: Mapping[str, Interval]
    version: str | None
    digest: str | None
    endpoint: str | None
    seconds: Mapping[str, float]
    report: str | None = None
    state: str | None = None
    page: str | None = None
    approve: str = ""

    @classmethod
    def from_record(cls, workload: str, record: RunRecord, seconds: Mapping[str, float]) -> RunResult:
        """Return the result that the steps of a run have recorded."""
        return cls(
            workload=workload,
            run=record.run,
            verdict=record.verdict,
            reasons=record.reasons,
            metrics=record.metrics,
            version=record.version,
            digest=record.digest,
            endpoint=record.endpoint,
            seconds=seconds,
        )

    def with_primary_metric_first(self, primary: str) -> RunResult:
        """Return the result with the primary metric first, and the other metrics by name."""
        names = sorted(self.metrics, key=lambda name: (name != primary, name))
        return replace(self, metrics={name: self.metrics[name] for name in names})

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        location = {"page": self.page} if self.page is not None else {"state": self.state}
        return {
            "workload": self.workload,
            "run": self.run,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "metrics": {name: interval.to_json() for name, interval in self.metrics.items()},
            "version": self.version,
            "digest": self.digest,
            "endpoint": self.endpoint,
            "seconds": dict(self.seconds),
            "report": self.report,
            **location,
            **({"approve": self.approve} if self.approve else {}),
        }


@dataclass(frozen=True)
class LocalRunPlan:
    """The plan of a local run. `pipeline` is the version of the compiled pipeline."""

    workload: str
    pipeline: str
    parameters: Mapping[str, Value]
    source: str
    state: str
    registry: str
    store: str

    def to_json(self) -> Json:
        """Return the object that --dry-run prints."""
        return {**vars(self), "parameters": dict(self.parameters)}
