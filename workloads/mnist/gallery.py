"""The training pictures, each packed by itself: only those that somebody looks at are unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .pictures import SIDE

PACKED = "pictures.zlib"
ENDS = "pictures-ends.npy"
_LEVEL = 6


def write_gallery(pictures: np.ndarray, folder: Path) -> None:
    """Write uint8 pictures, [n, 28, 28], in a quarter of their size, and where each of them ends."""
    packed = [zlib.compress(picture.tobytes(), _LEVEL) for picture in pictures]
    (folder / PACKED).write_bytes(b"".join(packed))
    np.save(folder / ENDS, np.cumsum([len(one) for one in packed], dtype=np.int64), allow_pickle=False)


class Gallery:
    """Shows pictures by their numbers; what nobody looks at stays on disk."""

    def __init__(self, folder: Path) -> None:
        self._ends = np.load(folder / ENDS, allow_pickle=False)
        self._packed = np.memmap(folder / PACKED, dtype=np.uint8, mode="r")

    def show(self, numbers: Sequence[int]) -> np.ndarray:
        """Return pictures, uint8 [n, 28, 28]."""
        pixels = b"".join(map(self._unpacked, numbers))
        return np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)

    def _unpacked(self, number: int) -> bytes:
        begin = self._ends[number - 1] if number else 0
        return zlib.decompress(self._packed[begin : self._ends[number]].tobytes())
