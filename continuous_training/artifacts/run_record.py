"""The records of the run history: the result of a run, the inputs that a run processed, and the latest data.

Some stored names differ from the names of the fields: an input digest is stored as `recipe`, and the earlier
run that evaluated the same inputs as `judged_by`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from continuous_training.artifacts.approval import Approval
from continuous_training.artifacts.column_statistics import ColumnStatistics, statistics_to_json
from continuous_training.artifacts.data_checks import DataChecks
from continuous_training.artifacts.evaluation import TrackingRun
from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_inputs import RunInputs
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json, JsonObject

ROLLED_BACK = "promoted (and since rolled back)"
"""The verdict of processed inputs whose version was rolled back, as it is stored."""


@dataclass(frozen=True)
class RecordedVersion:
    """A version to which a record refers. `digest` and `metrics` are empty if they are not recorded."""

    version: str
    digest: str = ""
    metrics: Mapping[str, Interval] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: JsonObject) -> RecordedVersion:
        """Read a version."""
        metrics = document.items("metrics", Interval.from_json, {})
        return cls(document.text("version"), document.text("digest", ""), metrics)

    def to_json(self) -> Json:
        """Return the fields that are known."""
        return {
            "version": self.version,
            **({"digest": self.digest} if self.digest else {}),
            **({"metrics": _metrics_to_json(self.metrics)} if self.metrics else {}),
        }


@dataclass(frozen=True)
class RecordedRollback:
    """The versions of a rollback, and the user who started it.

    `previous` is the version to which the next rollback goes.
    """

    from_version: RecordedVersion | None
    to_version: RecordedVersion
    previous: str | None
    user: str

    @classmethod
    def from_json(cls, document: JsonObject) -> RecordedRollback:
        """Read the fields of a run record that only a rollback has."""
        return cls(
            from_version=document.optional("from", RecordedVersion.from_json),
            to_version=RecordedVersion.from_json(document.nested("to")),
            previous=document.optional_text("previous"),
            user=document.text("by", ""),
        )

    def to_json(self) -> Json:
        """Return the fields of a run record that only a rollback has."""
        return {
            "from": self.from_version.to_json() if self.from_version else None,
            "to": self.to_version.to_json(),
            "previous": self.previous,
            "by": self.user,
        }


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The result of one run.

    `ended` is the time in ISO 8601, empty until the record is written. An evaluated run has the `metrics` of
    its challenger, the `champion` to which it was compared, the `difference` of the primary metric, and its
    MLflow run, `registry`. `version`, `digest` and `endpoint` describe the served version, or the one that
    waits for approval. `evaluated_by` is the earlier run that processed the same inputs. `accepted` is the
    reason for which a person accepted the data or the challenger, or empty. `disagreement` is the error of a
    run that ended while endpoint and registry disagreed.
    `trigger` is the caller of the trigger service who started the run, None for other runs. `approval` is the
    approval by a person, None if the version needed none.
    """

    run: str
    verdict: str
    reasons: tuple[str, ...] = ()
    ended: str = ""
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    champion: RecordedVersion | None = None
    registry: TrackingRun | None = None
    input_digest: str | None = None
    version: str | None = None
    digest: str | None = None
    endpoint: str | None = None
    evaluated_by: str | None = None
    disagreement: str | None = None
    rollback: RecordedRollback | None = None
    accepted: str = ""
    difference: Interval | None = None
    trigger: RunTrigger | None = None
    approval: Approval | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> RunRecord:
        """Read a record. Raises the document's error for a missing or damaged field."""
        return cls(
            run=document.text("run"),
            verdict=document.text("verdict"),
            reasons=document.text_list("reasons", []),
            ended=document.text("ended", ""),
            metrics=document.items("metrics", Interval.from_json, {}),
            champion=document.optional("champion", RecordedVersion.from_json),
            registry=document.optional("registry", TrackingRun.from_json),
            input_digest=document.optional_text("recipe"),
            version=document.optional_text("version"),
            digest=document.optional_text("digest"),
            endpoint=document.optional_text("endpoint"),
            evaluated_by=document.optional_text("judged_by"),
            disagreement=document.optional_text("disagreement"),
            rollback=RecordedRollback.from_json(document) if "to" in document else None,
            accepted=document.text("accepted", ""),
            difference=document.optional("difference", Interval.from_json),
            trigger=document.optional("trigger", RunTrigger.from_json),
            approval=document.optional("approval", Approval.from_json),
        )

    def to_json(self) -> Json:
        """Return the fields that are known, with their stored names.

        An evaluated run without a champion has a `champion` that is null.
        """
        optional = {
            "ended": self.ended,
            "metrics": _metrics_to_json(self.metrics),
            "registry": self.registry.to_json() if self.registry else None,
            "recipe": self.input_digest,
            "version": self.version,
            "digest": self.digest,
            "endpoint": self.endpoint,
            "judged_by": self.evaluated_by,
            "accepted": self.accepted,
            "disagreement": self.disagreement,
            "difference": self.difference.to_json() if self.difference else None,
            "trigger": self.trigger.to_json() if self.trigger else None,
            "approval": self.approval.to_json() if self.approval else None,
        }
        content = {
            "run": self.run,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            **{name: value for name, value in optional.items() if value},
            **(self.rollback.to_json() if self.rollback else {}),
        }
        if self.registry or self.champion:
            content["champion"] = self.champion.to_json() if self.champion else None
        return content


@dataclass(frozen=True)
class ProcessedInputs:
    """The result of the run that processed some inputs, and the rollback of its version, if any."""

    record: RunRecord
    withdrawal: Withdrawal | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> ProcessedInputs:
        """Read a record. Raises the document's error for a missing or damaged field."""
        return cls(RunRecord.from_json(document), document.optional("withdrawn", Withdrawal.from_json))

    def to_json(self) -> Json:
        """Return the fields of the run record without its time, and the withdrawal."""
        withdrawn = {"withdrawn": self.withdrawal.to_json()} if self.withdrawal else {}
        return {**replace(self.record, ended="").to_json(), **withdrawn}

    def withdraw(self, rollback: str) -> ProcessedInputs:
        """Return the record after the rollback with this run id: it no longer names a served version."""
        record = self.record
        withdrawal = Withdrawal(rollback, record.version, record.digest, record.endpoint)
        withdrawn = replace(record, verdict=ROLLED_BACK, version=None, digest=None, endpoint=None)
        return ProcessedInputs(withdrawn, withdrawal)

    def reinstate(self) -> ProcessedInputs:
        """Return the record after a rollback to its version."""
        served = self.withdrawal
        if served is None:
            return self
        return ProcessedInputs(
            replace(
                self.record,
                verdict="promoted",
                version=served.version,
                digest=served.digest,
                endpoint=served.endpoint,
            )
        )


@dataclass(frozen=True)
class Withdrawal:
    """The run id of a rollback, and the served version that it withdrew."""

    run: str
    version: str | None
    digest: str | None
    endpoint: str | None

    @classmethod
    def from_json(cls, document: JsonObject) -> Withdrawal:
        """Read a withdrawal."""
        served = (document.optional_text(key) for key in ("version", "digest", "endpoint"))
        return cls(document.text("run"), *served)

    def to_json(self) -> dict[str, str]:
        """Return the fields that are known."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class DataRecord:
    """The data of the latest run. `when` is the time of the record, empty until it is written.

    `rows` are the numbers of rows by split, and `statistics` describes each column of the training rows.
    `inputs` are the inputs of the run, None in older records. `baseline` is the `environment` of the first
    run after such a record, None if there was none. `checks` is None in older records.
    """

    run: str
    as_of: str
    source: str
    fingerprint: str
    rows: Mapping[str, int]
    statistics: Mapping[str, ColumnStatistics]
    when: str = ""
    inputs: RunInputs | None = None
    baseline: str | None = None
    checks: DataChecks | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> DataRecord:
        """Read a record. Raises the document's error for a missing or damaged field."""
        rows = document.nested("rows")
        return cls(
            run=document.text("run"),
            as_of=document.text("as_of"),
            source=document.text("source"),
            fingerprint=document.text("fingerprint"),
            rows={split: rows.integer(split) for split in rows.value},
            statistics=document.items("statistics", ColumnStatistics.from_json),
            when=document.text("when"),
            inputs=document.optional("inputs", RunInputs.from_json),
            baseline=document.optional_text("baseline"),
            checks=document.optional("checks", DataChecks.from_json),
        )

    def to_json(self) -> Json:
        """Return the fields that are known."""
        return {
            **{name: value for name, value in vars(self).items() if value is not None},
            "rows": dict(self.rows),
            "statistics": statistics_to_json(self.statistics),
            **({"inputs": self.inputs.to_json()} if self.inputs else {}),
            **({"checks": self.checks.to_json()} if self.checks else {}),
        }


def _metrics_to_json(metrics: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: interval.to_json() for name, interval in metrics.items()}
