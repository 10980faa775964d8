"""The caller who started a run from outside, and the reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from continuous_training.core.json_object import JsonObject


@dataclass(frozen=True)
class RunTrigger:
    """The caller who requested a run, and the caller's reason (empty: none).

    The caller is that of the trigger service, or the person who runs pipelines.transfer.
    """

    caller: str
    reason: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> RunTrigger:
        """Read a trigger."""
        return cls(document.text("caller"), document.text("reason", ""))

    def to_json(self) -> dict[str, str]:
        """Return the stored fields."""
        return asdict(self)

    def __str__(self) -> str:
        return f"started by {self.caller}" + (f": {self.reason}" if self.reason else "")
