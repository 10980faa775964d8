"""The sha256 of many parts of one buffer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def sha256_of_slices(buffer: Any, ends: Sequence[int]) -> np.ndarray:
    """Return the sha256 of each part of a buffer, uint8 of shape [len(ends) - 1, 32].

    Part i begins at byte `ends[i]` and ends before byte `ends[i + 1]`.
    """
    view, sha256 = memoryview(buffer), hashlib.sha256
    digests = [sha256(view[begin:end]).digest() for begin, end in pairwise(ends)]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), 32)
