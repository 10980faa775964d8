"""The result of a transfer, and what --json prints."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.json_object import Json

UNCHANGED, PLANNED = "unchanged", "planned"
"""The verdicts of a transfer besides those of an evaluated run."""


@dataclass(frozen=True)
class TransferResult:
    """What a transfer did.

    `source` and `target` are the names of the environments. `version` is the version's number in the source,
    and `target_version` its number in the target, None if it was not registered. `champion` is the number of
    the target's champion before the transfer. `data` describes the rows of the target on which the version
    was evaluated, None if it was not evaluated there. `run` is the run of the transfer, None if nothing was
    written.
    """

    workload: str
    source: str
    target: str
    version: str
    digest: str
    verdict: str
    reasons: tuple[str, ...]
    champion: str | None = None
    target_version: str | None = None
    data: str | None = None
    run: str | None = None
    endpoint: str | None = None

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {
            "workload": self.workload,
            "run": self.run,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "digest": self.digest,
            "from": {"environment": self.source, "version": self.version},
            "to": {
                "environment": self.target,
                "version": self.target_version,
                "champion_before": self.champion,
            },
            "evaluated_on": self.data,
            "endpoint": self.endpoint,
        }
