"""The sha256 of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20


def digest_stream(stream: IO[bytes]) -> str:
    """Hash what is left of an open file."""
    total = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        total.update(chunk)
    return total.hexdigest()


def digest_file(path: Path) -> str:
    """Hash a whole file."""
    with path.open("rb") as stream:
        return digest_stream(stream)
