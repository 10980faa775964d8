"""The files of a data source that were not read, and those whose completeness is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from continuous_training.core.json_object import Json, JsonObject


class OmissionReason(StrEnum):
    """Why a file of a source is not read."""

    HIDDEN = "hidden"
    MARKER = "marker"
    OTHER = "other"


@dataclass(frozen=True)
class OmittedFile:
    """A file of a source that is not read. `name` is its path in the source."""

    name: str
    reason: OmissionReason


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source that were not read, by reason, with the first names.

    `incomplete` are the addresses of files that the server sent without a length, so that a file that was cut
    off cannot be detected.
    """

    omitted: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.omitted or self.incomplete)

    @property
    def omitted_text(self) -> str:
        """The number of omitted files by reason, with the first names; empty if there are none."""
        if not self.omitted:
            return ""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in self.omitted.items())
        ellipsis = ", ..." if len(self.examples) < sum(self.omitted.values()) else ""
        return f"{counts} ({', '.join(self.examples)}{ellipsis})"

    @classmethod
    def from_json(cls, document: JsonObject) -> SourceFiles:
        """Read the field `source_files` of a dataset's manifest."""
        omitted = document.nested("omitted", {})
        return cls(
            omitted={reason: omitted.integer(reason) for reason in omitted.value},
            examples=document.text_list("examples", []),
            incomplete=document.text_list("incomplete", []),
        )

    def to_json(self) -> Json:
        """Return the field `source_files` of a dataset's manifest."""
        return {
            "omitted": dict(self.omitted),
            "examples": list(self.examples),
            "incomplete": list(self.incomplete),
        }
