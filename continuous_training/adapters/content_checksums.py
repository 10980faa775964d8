"""The checksums that S3 services store with an object, and their verification."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

_PREFIX = "x-amz-checksum-"
_KINDS = ("sha256", "sha1", "crc32")
"""The kinds that the standard library computes, the strongest first."""
_CHUNK = 1 << 20


def full_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums of the whole content in the headers of a response, as base64 by kind.

    The checksum of an object in several parts that ends with their number is that of the checksums of the
    parts, and is omitted. The names of the headers are in lower case.
    """
    values = {kind: headers.get(_PREFIX + kind, "") for kind in _KINDS}
    is_composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    return {kind: value for kind, value in values.items() if value and "-" not in value and not is_composite}


def mismatch(path: Path, checksums: Mapping[str, str]) -> str:
    """Return the kind of the checksum that the file does not have; empty if all is well or there is none."""
    kind = next((kind for kind in _KINDS if kind in checksums), "")
    return kind if kind and _checksum(path, kind) != checksums[kind] else ""


def _checksum(path: Path, kind: str) -> str:
    digest = None if kind == "crc32" else hashlib.new(kind, usedforsecurity=False)
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if digest:
                digest.update(chunk)
            else:
                crc = zlib.crc32(chunk, crc)
    content = digest.digest() if digest else crc.to_bytes(4, "big")
    return base64.b64encode(content).decode()
