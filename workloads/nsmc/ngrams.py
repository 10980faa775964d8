"""Hashed character n-grams of many texts at once: what both models see, in training and in serving."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

ORDERS = 4
"""N-grams of one to four characters."""

BUCKETS = 2**21
"""Into so many are they hashed; bucket 0 stands for no n-gram."""

_END = "\n"
"""Stands before, between and behind texts, so that an n-gram may begin or end with a text's edge."""

_UNIT = np.uint32(0x01000193)
_SHIFT = np.uint32(32 - BUCKETS.bit_length() + 1)
_REACH = np.arange(ORDERS)[:, None]
_ORDER = np.arange(1, ORDERS + 1, dtype=np.uint32)[:, None]


def ngrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams of all texts as buckets, int32 [orders, positions], and where each text begins.

    Text i has the positions `starts[i]` up to `starts[i + 1]` (or the end): one for each of its characters
    and one for its beginning, so that no text is without. `buckets[k, p]` is the n-gram of k + 1 characters
    that begins at p; where the text ends before it does, the bucket is 0. White space is left out, for
    spacing in Korean is loose, and composed characters (NFC) stand for decomposed ones. Any `str` will do,
    lone surrogates and NUL included.
    """
    joined = _END.join(texts)
    if joined.count(_END) != len(texts) - 1:
        # Only in texts that hold line breaks, which are white space.
        joined = _END.join(text.replace(_END, " ") for text in texts)
    if not joined.isascii():
        joined = unicodedata.normalize("NFC", joined)
    wrapped = f"{_END}{joined}{_END}".encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(wrapped, dtype=np.uint32)
    codes = codes[(codes > 32) & (codes != 0xA0) & (codes != 0x3000) | (codes == 10)]
    edges = np.flatnonzero(codes == 10)
    size, starts = len(codes) - 1, edges[:-1]
    hashes = np.zeros((ORDERS, size), dtype=np.uint32)
    hashes[0] = codes[:-1]
    for order in range(1, min(ORDERS, size + 1)):
        # Longer n-grams than the text has room for stay at what they were, and are taken out below.
        hashes[order, : size + 1 - order] = hashes[order - 1, : size + 1 - order] * _UNIT ^ codes[order:]
    hashes = _mixed(hashes + _ORDER)
    room = np.repeat(edges[1:], np.diff(edges)) - np.arange(size)
    hashes *= room >= _REACH
    return hashes.view(np.int32), starts


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Return 32 bits spread evenly, cut to a bucket: the finaliser of MurmurHash3 (Appleby, 2011)."""
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes >>= _SHIFT
    return hashes


def summed(table: np.ndarray, buckets: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return each text's sum of `table` over its n-grams, divided by the root of their number: float32 [n].

    `table` is float32 [BUCKETS].
    """
    positions = np.diff(starts, append=buckets.shape[1])
    sums = np.add.reduceat(table[buckets].sum(axis=0), starts)
    return sums / np.sqrt(ORDERS * positions, dtype=np.float32)
