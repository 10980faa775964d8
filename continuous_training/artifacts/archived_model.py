"""The output of the archive step: `archived.json`, the record of a registered model version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.evaluation import TrackingRun
from continuous_training.artifacts.measurements import Interval
from continuous_training.core.json_object import Json, JsonObject

ARCHIVED = "archived.json"
FORMAT = 1
"""The current format of `archived.json`. A file without the field `format` has format 1."""


@dataclass(frozen=True)
class ArchivedModel:
    """A registered version, with the `key` of its archive in the object store and the archive's sha256.

    `evaluated_champion` is the version that was champion when the gate decided, or None without a champion.
    `metrics` are the metrics of the evaluation, and `registry` is its MLflow run. `accepted` is the reason
    for which a person accepted the data or the challenger, or empty. `difference` is the improvement over the
    champion. `approval_days` is how long the version waits for a person's approval, None if it needs none.
    """

    workload: str
    version: str
    digest: str
    key: str
    run: str
    input_digest: str
    evaluated_champion: str | None
    reasons: tuple[str, ...]
    metrics: Mapping[str, Interval]
    registry: TrackingRun
    accepted: str = ""
    difference: Interval | None = None
    approval_days: int | None = None

    @classmethod
    def read(cls, folder: Path) -> ArchivedModel:
        """Read the archive step's output folder. Raises ArtifactError when it is missing or damaged."""
        return cls.from_json(JsonObject.read(folder / ARCHIVED, ArtifactError, "run the archive step"))

    @classmethod
    def from_json(cls, document: JsonObject) -> ArchivedModel:
        """Read the record. Raises the document's error for a missing or damaged field."""
        document.require_format(FORMAT, 1)
        return cls(
            workload=document.text("workload"),
            version=document.text("version"),
            digest=document.text("digest"),
            key=document.text("key"),
            run=document.text("run"),
            input_digest=document.text("recipe"),
            evaluated_champion=document.optional_text("judged_against"),
            reasons=document.text_list("reasons"),
            metrics=document.items("metrics", Interval.from_json),
            registry=TrackingRun.from_json(document.nested("registry")),
            accepted=document.text("accepted", ""),
            difference=document.optional("difference", Interval.from_json),
            approval_days=document.integer("approval_days") if "approval_days" in document else None,
        )

    def to_json(self) -> Json:
        """Return the content of `archived.json`, with its stored names."""
        return {
            "format": FORMAT,
            "workload": self.workload,
            "version": self.version,
            "digest": self.digest,
            "key": self.key,
            "run": self.run,
            "recipe": self.input_digest,
            "judged_against": self.evaluated_champion,
            "reasons": list(self.reasons),
            "metrics": {name: interval.to_json() for name, interval in self.metrics.items()},
            "registry": self.registry.to_json(),
            **({"accepted": self.accepted} if self.accepted else {}),
            **({"difference": self.difference.to_json()} if self.difference else {}),
            **({"approval_days": self.approval_days} if self.approval_days is not None else {}),
        }
