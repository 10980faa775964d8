"""The kinds of characters in text: letters by script, digits, punctuation and others."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EMPTY = "no character"
KINDS = (
    *("hangul", "han", "kana", "latin", "cyrillic", "greek", "arabic", "other letters"),
    *("digits", "punctuation", "symbols", "spaces", "others", EMPTY),
)
_SCRIPTS = {
    **{name: name.lower() for name in ("HANGUL", "LATIN", "CYRILLIC", "GREEK", "ARABIC")},
    **{"CJK": "han", "HIRAGANA": "kana", "KATAKANA": "kana"},
}
"""Kinds by the first word of a letter's name in the Unicode Character Database."""

_CATEGORIES = {"N": "digits", "P": "punctuation", "S": "symbols", "Z": "spaces"}
_UNKNOWN = 255


class UnicodeProfile:
    """Counts the kinds of characters in text. Each text has a total weight of 1, shared by its characters.

    A long text therefore counts as much as a short one, and the counts add up to the number of texts, which
    are the independent observations. A chi-squared test on these counts is conservative.
    """

    def __init__(self) -> None:
        self._kinds = np.full(0x110000, _UNKNOWN, dtype=np.uint8)
        self._weights = np.zeros(len(KINDS))
        self.texts = 0

    def add(self, texts: pa.Array) -> None:
        """Add an array of texts."""
        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        kinds = self._kinds_of("".join(texts.to_pylist()))
        cells = np.repeat(np.arange(len(texts)), lengths) * len(KINDS) + kinds
        counts = np.bincount(cells, minlength=len(texts) * len(KINDS)).reshape(len(texts), len(KINDS))
        self._weights += (counts / np.maximum(lengths, 1)[:, None]).sum(axis=0)
        self._weights[KINDS.index(EMPTY)] += int((lengths == 0).sum())
        self.texts += len(texts)

    def merge(self, other: UnicodeProfile) -> None:
        """Add the texts of another profile."""
        self._weights += other._weights
        self.texts += other.texts

    def counts(self) -> dict[str, float]:
        """Return the weight of each kind that occurs."""
        weights = zip(KINDS, self._weights.tolist(), strict=True)
        return {kind: round(weight, 3) for kind, weight in weights if weight}

    def _kinds_of(self, text: str) -> np.ndarray:
        """Return the index in KINDS of each character. New characters are added to the lookup table."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        for code in np.unique(codes[self._kinds[codes] == _UNKNOWN]).tolist():
            self._kinds[code] = KINDS.index(kind_of(chr(code)))
        return np.asarray(self._kinds[codes])


def kind_of(character: str) -> str:
    """Return the kind of one character, an entry of KINDS."""
    category = unicodedata.category(character)
    if category[0] in "LM":
        return _SCRIPTS.get(unicodedata.name(character, "").partition(" ")[0], "other letters")
    return "spaces" if character in "\t\n\r" else _CATEGORIES.get(category[0], "others")
