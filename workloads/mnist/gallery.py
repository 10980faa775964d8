"""The training images of a bundle, compressed one by one, so that each can be read separately."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .pictures import SIDE

COMPRESSED = "pictures.zlib"
ENDS = "pictures-ends.npy"
_LEVEL = 6


def write_gallery(images: np.ndarray, folder: Path) -> None:
    """Write compressed images (uint8 [n, 28, 28]) to one file, and their end offsets to another."""
    compressed = [zlib.compress(image.tobytes(), _LEVEL) for image in images]
    (folder / COMPRESSED).write_bytes(b"".join(compressed))
    ends = np.cumsum([len(content) for content in compressed], dtype=np.int64)
    np.save(folder / ENDS, ends, allow_pickle=False)


class Gallery:
    """Reads images by number from a memory-mapped file."""

    def __init__(self, folder: Path) -> None:
        self._ends = np.load(folder / ENDS, allow_pickle=False)
        self._compressed = np.memmap(folder / COMPRESSED, dtype=np.uint8, mode="r")

    def read(self, numbers: Sequence[int]) -> np.ndarray:
        """Return images, uint8 [n, 28, 28]."""
        pixels = b"".join(map(self._decompress, numbers))
        return np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)

    def _decompress(self, number: int) -> bytes:
        start = self._ends[number - 1] if number else 0
        return zlib.decompress(self._compressed[start : self._ends[number]].tobytes())
