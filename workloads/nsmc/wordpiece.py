"""BERT's tokenizer, implemented with the standard library because serving images do not contain transformers.

Devlin et al., "BERT" (NAACL 2019): texts are split at white space and punctuation, and words greedily into
the longest pieces of the vocabulary.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_LONGEST_WORD = 100
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


@dataclass
class WordPiece:
    """Converts texts to piece numbers. `longest`, the maximum length, includes the begin and end markers."""

    vocabulary: dict[str, int]
    begin: int
    end: int
    pad: int
    unknown: int
    longest: int
    lowercase: bool
    strip_accents: bool
    split_ideographs: bool

    def __post_init__(self) -> None:
        # Words are repeated often.
        self._cached_pieces = lru_cache(maxsize=100_000)(self._pieces)

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return piece numbers, and a mask that is 0 for padding: int64 [texts, pieces] each."""
        rows = [self._row(text) for text in texts]
        width = max(map(len, rows))
        numbers = np.full((len(rows), width), self.pad, dtype=np.int64)
        for i, row in enumerate(rows):
            numbers[i, : len(row)] = row
        mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]
        return numbers, mask.astype(np.int64)

    def _row(self, text: str) -> list[int]:
        row = [self.begin]
        for word in self._words(text):
            row += self._cached_pieces(word)
            if len(row) >= self.longest:
                break
        return [*row[: self.longest - 1], self.end]

    def _words(self, text: str) -> list[str]:
        if self.lowercase:
            text = text.lower()
        if self.strip_accents:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        return "".join(map(self._separate, text)).split()

    def _separate(self, character: str) -> str:
        """Return the character, in spaces if it is a separate word, or an empty string if it is a control."""
        code, category = ord(character), unicodedata.category(character)
        if character in "\t\n\r" or category == "Zs":
            return " "
        if code in (0, 0xFFFD) or category[0] == "C":
            return ""
        ideograph = self.split_ideographs and any(low <= code <= high for low, high in _IDEOGRAPHS)
        symbol = 33 <= code <= 126 and not character.isalnum()
        return f" {character} " if ideograph or symbol or category[0] == "P" else character

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self.unknown]
        pieces, first = [], 0
        while first < len(word):
            last = len(word)
            while (number := self.vocabulary.get("##" * (first > 0) + word[first:last])) is None:
                last -= 1
                if last == first:
                    return [self.unknown]
            pieces.append(number)
            first = last
        return pieces
