"""The manifest of a model archive: `archive.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from continuous_training.artifacts.bundle import Signature
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.json_object import Json, JsonObject

MANIFEST = "archive.json"
FORMAT = 1
"""The only format of `archive.json` so far."""


@dataclass(frozen=True)
class MemberEntry:
    """The sha256 and the size in bytes of one member."""

    sha256: str
    size: int

    @classmethod
    def from_json(cls, document: JsonObject) -> MemberEntry:
        """Read one entry of `files`."""
        return cls(document.text("sha256"), document.integer("bytes"))

    def to_json(self) -> Json:
        """Return one entry of `files`."""
        return {"sha256": self.sha256, "bytes": self.size}


@dataclass(frozen=True)
class ArchiveManifest:
    """The content of `archive.json`.

    `provenance` is a JSON object that says where the model comes from, `libraries` the versions of the
    serving libraries, and `files` the members with their digests.
    """

    signature: Signature
    golden: GoldenSet
    provenance: Json
    libraries: Mapping[str, str]
    files: Mapping[str, MemberEntry]

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.signature.name

    @classmethod
    def from_json(cls, document: JsonObject) -> ArchiveManifest:
        """Read a manifest. Raises the document's error for a missing or damaged field."""
        document.require_format(FORMAT)
        return cls(
            signature=Signature.from_json(document),
            golden=GoldenSet.from_json(document.array("golden"), document.document, document.error),
            provenance=document.mapping("provenance", {}),
            libraries=document.texts("libraries", {}),
            files=document.items("files", MemberEntry.from_json),
        )

    def to_json(self) -> Json:
        """Return the content of `archive.json`."""
        return {
            "format": FORMAT,
            **self.signature.to_json(),
            "golden": self.golden.to_json(),
            "provenance": dict(self.provenance),
            "libraries": dict(self.libraries),
            "files": {name: entry.to_json() for name, entry in self.files.items()},
        }
