"""The vocabulary of text: one word of each text, counted in hash bins."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BINS = 4096
_NO_WORD = BINS
"""The index of the count of texts without a word."""

_SEPARATORS = r"[^\p{L}\p{M}\p{N}]+"
_CJK = 0x1100
"""The first code point of scripts without spaces or with endings, where pairs of characters are counted."""

_SPACE = ord(" ")
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))


class Vocabulary:
    """Counts one pseudo-random word of each text, in `BINS` bins by a hash of the word.

    The texts are the independent observations, and a word is one observation of its text: a test on these
    counts has its stated error rate, although the words of a text depend on each other. The word depends only
    on the text. In Hangul, Han and Kana, a word is a pair of neighbouring characters. Case and
    punctuation are ignored. Counts are merged by adding them, and the memory is constant.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS + 1, dtype=np.int64)

    @property
    def texts(self) -> int:
        """The number of texts."""
        return int(self.counts.sum())

    def add(self, texts: pa.Array) -> None:
        """Add an array of texts without nulls."""
        if len(texts):
            self.counts += np.bincount(_bins_of(texts), minlength=BINS + 1)

    def merge(self, other: Vocabulary) -> None:
        """Add the texts of another vocabulary."""
        self.counts += other.counts


def vocabulary_change(new: np.ndarray, old: np.ndarray) -> float:
    """Return how different the words of two texts are: 0 for the same frequencies, 1 for other words.

    It is 1 minus the cosine of the two vectors of word frequencies. Its terms are the probabilities that two
    texts, of one dataset or of both, have the same word. They are estimated without bias (Simpson,
    "Measurement of Diversity", 1949), so the expected change does not depend on the number of texts.
    """
    new, old = new.astype(np.float64), old.astype(np.float64)
    rows = float(new.sum()), float(old.sum())
    if min(rows) < 2:
        return 0.0
    same = [
        float(counts @ (counts - 1)) / (total * (total - 1))
        for counts, total in zip((new, old), rows, strict=True)
    ]
    # Different words have the same bin with a probability of 1 / BINS.
    both, first, second = (
        probability - 1 / BINS for probability in (float(new @ old) / (rows[0] * rows[1]), *same)
    )
    if min(first, second) <= 0:
        return 0.0
    similarity = both / (first * second) ** 0.5
    return float(min(max(1 - similarity, 0.0), 1.0))


def _bins_of(texts: pa.Array) -> np.ndarray:
    """Return the bin of the selected word of each text."""
    texts = pc.replace_substring_regex(pc.utf8_lower(texts), pattern=_SEPARATORS, replacement=" ")
    # A space at the end of each text is the end of its last word.
    texts = pc.binary_join_element_wise(texts, "", " ")
    codes = _code_points(texts)
    hashes = _PrefixHashes(codes)
    ends = np.cumsum(pc.utf8_length(texts).to_numpy(zero_copy_only=False))
    starts, stops = _words(codes)
    # The words of a text are neighbours in `starts`.
    first, after = np.searchsorted(starts, np.concatenate([[0], ends[:-1]])), np.searchsorted(starts, ends)
    numbers = after - first
    text_hashes = hashes.of(np.concatenate([[0], ends[:-1]]), ends)
    has_word = numbers > 0
    chosen = first + (text_hashes % np.maximum(numbers, 1).astype(np.uint64)).astype(np.intp)
    bins = np.full(len(texts), _NO_WORD)
    words = chosen[has_word]
    bins[has_word] = (hashes.of(starts[words], stops[words]) % np.uint64(BINS)).astype(np.intp)
    return bins


def _code_points(texts: pa.Array) -> np.ndarray:
    """Return the code points of all texts, one after the other."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    joined = pc.binary_join(whole, "")[0].as_py()
    return np.frombuffer(joined.encode("utf-32-le"), dtype="<u4")


def _words(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the start and the end of each word; of each pair of characters in a word of CJK characters."""
    separator = codes == _SPACE
    is_first = ~separator & np.concatenate([[True], separator[:-1]])
    in_pair = (codes >= _CJK) & ~np.append(separator[1:], True)
    starts = np.flatnonzero(is_first | in_pair)
    separators = np.flatnonzero(separator)
    stops = separators[np.searchsorted(separators, starts)]
    return starts, np.where(codes[starts] >= _CJK, np.minimum(starts + 2, stops), stops)


class _PrefixHashes:
    """Polynomial hashes modulo 2^64 of any part of a sequence of code points, from its prefix sums."""

    def __init__(self, codes: np.ndarray) -> None:
        powers = np.full(len(codes), _BASE)
        powers[:1] = 1
        terms = (codes.astype(np.uint64) + np.uint64(1)) * np.cumprod(powers)
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
        inverse = np.full(len(codes) + 1, _INVERSE)
        inverse[0] = 1
        self._inverse_powers = np.cumprod(inverse)

    def of(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Return the hash of each part from `starts` up to `stops`, independent of its position."""
        hashes = (self._sums[stops] - self._sums[starts]) * self._inverse_powers[starts]
        # The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): the low bits depend on all bits.
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(hashes ^ (hashes >> np.uint64(31)))
