"""Read the idx files of MNIST, gzipped or not: a header with the sizes, then one byte per value."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from continuous_training.core.errors import UserError

_BYTES = 0x08
"""The format's code for unsigned bytes, the only data type of these files."""


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the file's array: uint8, read-only, with this number of dimensions.

    http://yann.lecun.com/exdb/mnist describes the format: two zero bytes, the type, the number of
    dimensions, the size of each dimension (four bytes, big-endian), the values. Raises UserError, with the
    file's name, if the file has another format or is truncated.
    """
    content = _content(path)
    begin = 4 + 4 * dimensions
    if content[:3] != bytes((0, 0, _BYTES)) or len(content) < begin:
        raise UserError(
            f"{path.name}: this is not an idx file of bytes; it starts with {content[:4].hex(' ')}"
        )
    if content[3] != dimensions:
        raise UserError(f"{path.name}: the array has {content[3]} dimensions; {dimensions} are expected")
    sizes = np.frombuffer(content, ">u4", dimensions, 4).tolist()
    if len(content) - begin != prod(sizes):
        raise UserError(
            f"{path.name}: according to the header, {prod(sizes):,} bytes follow "
            f"({' x '.join(map(str, sizes))}), but the file has {len(content) - begin:,}; is it complete?"
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(sizes)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # The name is not reliable: some browsers decompress a file and keep its name with .gz.
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}); is the file complete?") from None
