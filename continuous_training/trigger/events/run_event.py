"""An event that starts a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from continuous_training.core.json_object import JsonObject
from continuous_training.core.run_parameters import Value

Header = Callable[[bytes], str | None]
"""Returns the value of a header by its lower-case name, or None."""


@dataclass(frozen=True)
class RunEvent:
    """The sender of an event and its description, both for the run's record.

    `key` is the same for each delivery of an event. `parameters` extend the parameters of the source.
    """

    caller: str
    reason: str
    key: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    time: str = ""

    @classmethod
    def from_json(cls, document: JsonObject) -> RunEvent:
        """Read a stored event."""
        return cls(
            caller=document.text("caller"),
            reason=document.text("reason"),
            key=document.text("key"),
            time=document.text("time"),
        )

    def to_json(self) -> dict[str, str]:
        """Return the stored fields. A stored event has no parameters of its own."""
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        return {"caller": self.caller, "reason": self.reason, "key": self.key, "time": time}


def one_line(text: object, limit: int = 200) -> str:
    """Return a text of a sender on one line and of limited length, for records and logs."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
