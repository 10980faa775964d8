"""The sha256 of files and streams."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20


def digest_stream(stream: IO[bytes]) -> str:
    """Return the sha256 of the rest of an open file."""
    sha256 = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        sha256.update(chunk)
    return sha256.hexdigest()


def digest_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return digest_stream(stream)
