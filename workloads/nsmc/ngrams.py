"""Hashed character n-grams of many texts at once: the features of both models, in training and serving."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

ORDERS = 4
"""The n-grams have one to four characters."""

BUCKETS = 2**21
"""Number of hash buckets. Bucket 0 means no n-gram."""

_END = "\n"
"""Separator before, between and after texts, so that n-grams can include the edge of a text."""

_UNIT = np.uint32(0x01000193)
_SHIFT = np.uint32(32 - BUCKETS.bit_length() + 1)
_REACH = np.arange(ORDERS)[:, None]
_ORDER = np.arange(1, ORDERS + 1, dtype=np.uint32)[:, None]


def ngrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams of all texts as buckets, int32 [orders, positions], and the start of each text.

    Text i has the positions from `starts[i]` to `starts[i + 1]` (or the end): one for its beginning, and one
    for each character. So each text has at least one position. `buckets[k, p]` is the n-gram of k + 1
    characters that starts at p, or 0 if the text ends before the n-gram does. White space is removed, because
    Korean spacing varies, and characters are composed (NFC). Any `str` is valid, including lone surrogates
    and NUL.
    """
    content = _END.join(texts)
    if content.count(_END) != len(texts) - 1:
        # Line breaks in texts are white space.
        content = _END.join(text.replace(_END, " ") for text in texts)
    if not content.isascii():
        content = unicodedata.normalize("NFC", content)
    wrapped = f"{_END}{content}{_END}".encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(wrapped, dtype=np.uint32)
    codes = codes[(codes > 32) & (codes != 0xA0) & (codes != 0x3000) | (codes == 10)]
    edges = np.flatnonzero(codes == 10)
    size, starts = len(codes) - 1, edges[:-1]
    hashes = np.zeros((ORDERS, size), dtype=np.uint32)
    hashes[0] = codes[:-1]
    for order in range(1, min(ORDERS, size + 1)):
        # N-grams that are longer than the rest of the text are set to 0 below.
        hashes[order, : size + 1 - order] = hashes[order - 1, : size + 1 - order] * _UNIT ^ codes[order:]
    hashes = _mix(hashes + _ORDER)
    remaining = np.repeat(edges[1:], np.diff(edges)) - np.arange(size)
    hashes *= remaining >= _REACH
    return hashes.view(np.int32), starts


def _mix(hashes: np.ndarray) -> np.ndarray:
    """Map hashes in place to evenly distributed buckets: the finaliser of MurmurHash3 (Appleby, 2011)."""
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes >>= _SHIFT
    return hashes


def score(table: np.ndarray, buckets: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return each text's sum of `table` over its n-grams, divided by the root of their number: float32 [n].

    `table` is float32 [BUCKETS].
    """
    positions = np.diff(starts, append=buckets.shape[1])
    sums = np.add.reduceat(table[buckets].sum(axis=0), starts)
    return sums / np.sqrt(ORDERS * positions, dtype=np.float32)
