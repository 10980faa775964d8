"""Parse the usual lines of CSV tables of numbers with Arrow, many lines at a time.

A usual line has the expected number of cells, each of which is a decimal number without quotes, spaces or
names such as nan. Arrow reads these cells as Python's `float` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_CHARACTERS = b"0123456789+-.eE\r\n"


class NumberLines:
    """Parses lines with `columns` numbers each."""

    def __init__(self, columns: int, delimiter: str) -> None:
        self._names = [str(index) for index in range(columns)]
        self._characters = _CHARACTERS + delimiter.encode()
        cells = re.escape(delimiter).join([_NUMBER] * columns)
        self._line = rf"^{cells}\r?$"
        self._parse_options = csv.ParseOptions(delimiter=delimiter, quote_char=False, double_quote=False)
        self._convert_options = csv.ConvertOptions(
            column_types=dict.fromkeys(self._names, pa.float64()), null_values=[]
        )

    def parse(self, text: bytes) -> np.ndarray | None:
        """Return the numbers of the lines, [lines, columns]. None if not all of them are usual lines."""
        if text.translate(None, self._characters) or not _has_usual_ends(text):
            return None
        options = csv.ReadOptions(column_names=self._names, use_threads=False, block_size=len(text) + 1)
        try:
            table = csv.read_csv(pa.BufferReader(text), options, self._parse_options, self._convert_options)
        except pa.ArrowInvalid:
            return None
        return np.stack([column.to_numpy() for column in table.columns], axis=1)

    def usual(self, lines: Sequence[bytes]) -> np.ndarray:
        """Return a mask of the usual lines."""
        mask: np.ndarray = pc.match_substring_regex(pa.array(lines, pa.binary()), self._line).to_numpy(
            zero_copy_only=False
        )
        return mask


def _has_usual_ends(text: bytes) -> bool:
    """Return whether each line has content and ends with a line feed, after a carriage return or not."""
    if b"\r" in text:
        if text.count(b"\r") != text.count(b"\r\n"):
            return False
        text = text.replace(b"\r", b"")
    return not text.startswith(b"\n") and b"\n\n" not in text
