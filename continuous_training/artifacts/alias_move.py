"""The record of a move of an alias in the model registry: the value of a tag of the registered model."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.json_object import JsonObject


@dataclass(frozen=True)
class AliasMove:
    """A move of an alias from one version to another; `from_version` is None if no version had the alias.

    `time` is in ISO 8601; it is part of the tag's key. A rollback also has a `kind`. `user` is who started a
    rollback or approved a version; both are empty for other promotions. `position` is the number of moves
    before this one, or None for a move that an earlier version recorded.
    """

    time: str
    alias: str
    from_version: str | None
    to_version: str
    reason: str
    run: str
    user: str = ""
    kind: str = ""
    position: int | None = None

    @classmethod
    def from_json(cls, time: str, document: JsonObject) -> AliasMove:
        """Read the value of the tag. Raises the document's error for a missing or damaged field."""
        return cls(
            time=time,
            alias=document.text("alias"),
            from_version=document.optional_text("from"),
            to_version=document.text("to"),
            reason=document.text("why", ""),
            run=document.text("run", ""),
            user=document.text("by", ""),
            kind=document.text("kind", ""),
            position=document.integer("position") if "position" in document else None,
        )

    def to_json(self) -> dict[str, str | int | None]:
        """Return the value of the tag, with its stored names."""
        position = {} if self.position is None else {"position": self.position}
        user = {"by": self.user} if self.user or self.kind else {}
        kind = {"kind": self.kind} if self.kind else {}
        return {
            "alias": self.alias,
            "from": self.from_version,
            "to": self.to_version,
            "why": self.reason,
            "run": self.run,
            **user,
            **kind,
            **position,
        }
