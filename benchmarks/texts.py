"""Simulated texts: words of two topics whose shares depend on a feature of the text."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.stats import norm

_LANGUAGE_SIZE = 4000
_LENGTH = 10
"""The number of words of a text."""


def texts(rng: np.random.Generator, rows: int, offset: float = 0.0, language: int = 0) -> np.ndarray:
    """Draw texts. A feature with a standard deviation of 1 around `offset` decides the share of the topics.

    The languages have the same letters, lengths of words and frequencies, and other words.
    """
    words = _words(language)
    # Zipf's law: the frequency of a word is inversely proportional to its rank in its topic.
    frequencies = 1 / np.arange(1, _LANGUAGE_SIZE // 2 + 1)
    ranks = rng.choice(len(frequencies), (rows, _LENGTH), p=frequencies / frequencies.sum())
    share = norm.cdf(rng.normal(offset, 1, (rows, 1)))
    chosen = words[2 * ranks + (rng.random((rows, _LENGTH)) < share)]
    return np.array([" ".join(row) for row in chosen], dtype=object)


@cache
def _words(language: int) -> np.ndarray:
    """Return the words of a language, the topics alternating."""
    rng, letters = np.random.default_rng(language), np.array(list("abcdefghijklmnopqrstuvwxyz"))
    lengths = np.random.default_rng(0).integers(3, 10, _LANGUAGE_SIZE)
    return np.array(["".join(rng.choice(letters, length)) for length in lengths], dtype=object)
