"""The approval of a version by a person: since when the version waits, until when, and the decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from continuous_training.core.json_object import JsonObject

REQUIRED = "required"
"""The value of the run parameter `approval` with which a version waits."""

WAITING, APPROVED, REJECTED, REPLACED = "waiting", "approved", "rejected", "replaced"
"""The states of an approval. A later version replaces one that waits."""


@dataclass(frozen=True)
class Approval:
    """The approval of the version of a run. Times are in ISO 8601.

    `starter` is the person who started the run, empty if that is not known or nobody did. `user`, `reason`
    and `decided` are the person who decided, the person's reason and the time, empty while the version waits.
    """

    run: str
    since: str
    until: str
    starter: str = ""
    state: str = WAITING
    user: str = ""
    reason: str = ""
    decided: str = ""

    @classmethod
    def begin(cls, run: str, days: int, starter: str, now: datetime) -> Approval:
        """Return the approval of a version that waits from now on."""
        return cls(run, _text(now), _text(now + timedelta(days=days)), starter)

    @classmethod
    def from_json(cls, document: JsonObject) -> Approval:
        """Read an approval. Raises the document's error for a missing or damaged field."""
        return cls(
            run=document.text("run"),
            since=document.text("since"),
            until=document.text("until"),
            starter=document.text("started_by", ""),
            state=document.text("state"),
            user=document.text("by", ""),
            reason=document.text("why", ""),
            decided=document.text("when", ""),
        )

    def to_json(self) -> dict[str, str]:
        """Return the fields that are known, with their stored names."""
        optional = {
            "started_by": self.starter,
            "by": self.user,
            "why": self.reason,
            "when": self.decided,
        }
        return {
            "state": self.state,
            "run": self.run,
            "since": self.since,
            "until": self.until,
            **{name: value for name, value in optional.items() if value},
        }

    @property
    def is_waiting(self) -> bool:
        """Whether nobody has decided yet, even if the time has expired."""
        return self.state == WAITING

    def is_expired(self, now: datetime) -> bool:
        """Return whether the version can no longer be approved."""
        return now >= datetime.fromisoformat(self.until)

    def decide(self, state: str, user: str, reason: str, now: datetime) -> Approval:
        """Return the approval after the decision of a person, or of a run that replaces the version."""
        return replace(self, state=state, user=user, reason=reason, decided=_text(now))

    def describe(self) -> str:
        """Return the state as a line for the reasons of a run."""
        if self.is_waiting:
            return f"the version waits for approval until {self.until[:16].replace('T', ' ')} UTC"
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.state} by {self.user}{reason}"


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
