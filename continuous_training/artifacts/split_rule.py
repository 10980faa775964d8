"""The rule that assigns each row of a dataset to the training rows or to the holdout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from continuous_training.core.json_object import Json, JsonObject

Kind = Literal["key", "group", "time", "source"]

_HASH = re.compile(r"sha256\((?P<column>.+)\) / 2\^256 < (?P<share>[0-9.]+)")
_SOURCE = "the source's own"


@dataclass(frozen=True)
class SplitRule:
    """The rule of a split, as `dataset.json` and the bundle of a model contain it.

    `kind` is `key` or `group` (a row is held out if the hash of its value in `column` is below `share`),
    `time` (a row is held out if its time in `column` is after `holdout_after`, and is a training row up to
    `train_until`; both in ISO 8601, UTC), or `source` (the data has its own split).
    """

    kind: Kind
    column: str = ""
    share: float = 0.0
    train_until: str = ""
    holdout_after: str = ""

    @property
    def text(self) -> str:
        """The rule for people."""
        if self.kind == "source":
            return _SOURCE
        if self.kind == "time":
            gap = "" if self.train_until == self.holdout_after else f"; training up to {self.train_until}"
            return f"{self.column} after {self.holdout_after}{gap}"
        return f"sha256({self.column}) / 2^256 < {self.share}"

    @classmethod
    def from_text(cls, text: str) -> SplitRule | None:
        """Return the rule of a model whose bundle contains only the text; None for an unknown text."""
        if text == _SOURCE:
            return cls("source")
        match = _HASH.fullmatch(text)
        return cls("key", match["column"], float(match["share"])) if match else None

    @classmethod
    def from_json(cls, document: JsonObject) -> SplitRule:
        """Read the field `split`."""
        if document.text("kind") not in get_args(Kind):
            raise document.invalid("kind", f"one of {', '.join(get_args(Kind))}")
        return cls(
            kind=cast(Kind, document.text("kind")),
            column=document.text("column", ""),
            share=document.optional_number("share") or 0.0,
            train_until=document.text("train_until", ""),
            holdout_after=document.text("holdout_after", ""),
        )

    def to_json(self) -> Json:
        """Return the field `split`: the fields that the kind has."""
        return {name: value for name, value in vars(self).items() if value}
