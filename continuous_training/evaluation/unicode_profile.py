"""What kinds of characters texts are made of: letters by their script, digits, punctuation and the rest."""

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
"""The first word of a letter's name in the Unicode Character Database."""

_CATEGORIES = {"N": "digits", "P": "punctuation", "S": "symbols", "Z": "spaces"}
_UNKNOWN = 255


class Characters:
    """Counts the kinds of characters in texts, each text as one, shared out among its characters.

    So a long text tells no more than a short one, and the counts add up to the number of texts, which are
    what is independent of each other; chi-squared on them finds rather too little than too much.
    """

    def __init__(self) -> None:
        self._kinds = np.full(0x110000, _UNKNOWN, dtype=np.uint8)
        self._shares = np.zeros(len(KINDS))
        self.texts = 0

    def add(self, texts: pa.Array) -> None:
        """Take in an array of texts."""
        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        kinds = self._kinds_of("".join(texts.to_pylist()))
        places = np.repeat(np.arange(len(texts)), lengths) * len(KINDS) + kinds
        counts = np.bincount(places, minlength=len(texts) * len(KINDS)).reshape(len(texts), len(KINDS))
        self._shares += (counts / np.maximum(lengths, 1)[:, None]).sum(axis=0)
        self._shares[KINDS.index(EMPTY)] += int((lengths == 0).sum())
        self.texts += len(texts)

    def counts(self) -> dict[str, float]:
        """Return the texts' worth of each kind that there is."""
        shares = zip(KINDS, self._shares.tolist(), strict=True)
        return {kind: round(share, 3) for kind, share in shares if share}

    def _kinds_of(self, text: str) -> np.ndarray:
        """Return each character's place in KINDS, looking up those that are seen for the first time."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        for code in np.unique(codes[self._kinds[codes] == _UNKNOWN]).tolist():
            self._kinds[code] = KINDS.index(kind_of(chr(code)))
        return self._kinds[codes]


def kind_of(character: str) -> str:
    """Return the kind of one character, one of KINDS."""
    category = unicodedata.category(character)
    if category[0] in "LM":
        return _SCRIPTS.get(unicodedata.name(character, "").partition(" ")[0], "other letters")
    return "spaces" if character in "\t\n\r" else _CATEGORIES.get(category[0], "others")
