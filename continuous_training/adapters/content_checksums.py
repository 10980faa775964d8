"""The checksums that S3 services store with an object, and their verification.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

_PREFIX = "x-amz-checksum-"
_CRC_SIZES = {"crc64nvme": 8, "crc32c": 4, "crc32": 4}
"""The size in bytes of each cyclic redundancy check. A service sends it in big-endian order."""
_KINDS = ("sha256", "sha1", *_CRC_SIZES)
"""The supported kinds, the strongest first."""
_CHUNK = 1 << 20

_Crc = Callable[[bytes, int], int]
"""Continues a cyclic redundancy check with the next bytes."""


def full_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums of the whole content in the headers of a response, as base64 by kind.

    The checksum of an object in several parts that ends with their number is that of the checksums of the
    parts, and is omitted: the sizes of the parts are unknown. The names of the headers are in lower case.
    """
    values = {kind: headers.get(_PREFIX + kind, "") for kind in _KINDS}
    is_composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    return {kind: value for kind, value in values.items() if value and "-" not in value and not is_composite}


def mismatch(path: Path, checksums: Mapping[str, str]) -> str:
    """Return the kind of the checksum that the file does not have; empty if all is well or there is none.

    The strongest of the checksums is verified. Without the package awscrt, CRC64NVME and CRC32C are not.
    """
    for kind in (kind for kind in _KINDS if kind in checksums):
        if kind not in _CRC_SIZES:
            return "" if _digest(path, kind) == checksums[kind] else kind
        if crc := _crc_function(kind):
            return "" if _crc(path, crc, _CRC_SIZES[kind]) == checksums[kind] else kind
    return ""


def _crc_function(kind: str) -> _Crc | None:
    """Return the function for a cyclic redundancy check, or None if it is not installed."""
    if kind == "crc32":
        return zlib.crc32
    try:
        # Start-up time: most sources are not in a bucket.
        from awscrt import checksums
    except ImportError:
        return None
    functions: dict[str, _Crc] = {"crc32c": checksums.crc32c, "crc64nvme": checksums.crc64nvme}
    return functions[kind]


def _crc(path: Path, function: _Crc, size: int) -> str:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = function(chunk, crc)
    return base64.b64encode(crc.to_bytes(size, "big")).decode()


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()
