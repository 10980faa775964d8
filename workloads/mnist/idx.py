"""Reads the idx files of MNIST, gzipped or not: a header of sizes, then one byte a value."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from continuous_training.core.errors import UserError

_BYTES = 0x08
"""The format's code for unsigned bytes, the only kind of value that these files hold."""


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the file's array, uint8, of that many dimensions; read-only.

    The format is described at http://yann.lecun.com/exdb/mnist: two zero bytes, the type, the number of
    dimensions, each dimension's size in four bytes (high one first), the values. Raises UserError that names
    the file when it is anything else, or cut short.
    """
    content = _content(path)
    begin = 4 + 4 * dimensions
    if content[:3] != bytes((0, 0, _BYTES)) or len(content) < begin:
        raise UserError(f"{path.name}: is not an idx file of bytes; it begins with {content[:4].hex(' ')}")
    if content[3] != dimensions:
        raise UserError(f"{path.name}: has {content[3]} dimensions, where {dimensions} are expected")
    sizes = np.frombuffer(content, ">u4", dimensions, 4).tolist()
    if len(content) - begin != prod(sizes):
        raise UserError(
            f"{path.name}: its header announces {prod(sizes):,} bytes ({' x '.join(map(str, sizes))}), and "
            f"{len(content) - begin:,} follow; is the file whole?"
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(sizes)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # The name may say otherwise: a browser that unpacked a file may have left it its .gz.
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}); is it whole?") from None
