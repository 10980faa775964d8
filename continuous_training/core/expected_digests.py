"""The sha256 digests that the files of a source must have: the run parameter `sha256`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError

DIGESTS = r"[0-9a-fA-F]{64}|[^=,]+=[0-9a-fA-F]{64}(,[^=,]+=[0-9a-fA-F]{64})*"
"""The form of the parameter: the digest of the only file, or NAME=DIGEST for each file."""


class ExpectedDigests:
    """The digests of a run. The name "" is that of the only file of the source."""

    def __init__(self, digests: Mapping[str, str] | None = None) -> None:
        self._digests = dict(digests or {})
        self._verified: set[str] = set()

    @classmethod
    def parse(cls, text: str) -> ExpectedDigests:
        """Read a text of the form `DIGESTS`; empty if there are none."""
        pairs = (item.rpartition("=") for item in text.split(",") if item)
        return cls({name: digest.lower() for name, _, digest in pairs})

    def of(self, name: str) -> str:
        """Return the digest of a file, or an empty text."""
        return self._digests.get(name) or self._digests.get("", "")

    def add_verified(self, name: str) -> None:
        """Record that a file has its digest. Raises UserError if one digest is expected for several files."""
        if name not in self._digests and "" in self._digests and self._verified - {name}:
            names = ",".join(f"{file}=DIGEST" for file in sorted({*self._verified, name}))
            raise UserError(f"parameter sha256: the source has several files; set sha256={names}")
        self._verified.add(name)

    def verify(self, file: Path, name: str) -> None:
        """Raise UserError if a digest is expected for the file and the file has another one."""
        if expected := self.of(name):
            if (digest := digest_file(file)) != expected:
                raise UserError(
                    f"{name} is not the expected file: it has {file.stat().st_size:,} bytes and the sha256 "
                    f"{digest}, but the run parameter sha256 is {expected}"
                )
            self.add_verified(name)

    def require_verified(self, source: str) -> None:
        """Raise UserError if a digest is expected for a file that was not read."""
        unread = sorted(name for name in self._digests if name not in self._verified)
        if unread == [""] and self._verified:
            return
        if unread:
            names = ", ".join(unread) if unread != [""] else "the file"
            raise UserError(f"parameter sha256: {names} was not read from the source {source}")
