"""The sha256 of files, streams, folders, JSON values and a workload's code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, Any

from continuous_training.core.files import to_json

CHECKSUMS = "SHA256SUMS"
"""The file with the digests of an artifact's other files. It is no part of the artifact's content."""

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


def digest_of(value: Any) -> str:
    """Return the sha256 of a value that can be written as JSON."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()


def digest_of_folder(folder: Path, pattern: str = "**/*") -> str:
    """Return the sha256 of the names and contents of the folder's files that match.

    Bytecode and the folder's `SHA256SUMS` are left out.
    """
    files = sorted(
        path
        for path in folder.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts and path != folder / CHECKSUMS
    )
    return digest_of({str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})


def code_digest(folder: Path) -> str:
    """Return the digest of the Python files in a folder."""
    return digest_of_folder(folder, "**/*.py")
