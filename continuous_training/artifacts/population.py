"""The comparison of today's data with the data that the champion was promoted on."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.artifacts.measurements import Interval
from continuous_training.core.json_object import JsonObject


@dataclass(frozen=True)
class ScoreChange:
    """The champion's primary metric when it was promoted and on today's holdout.

    `fall` is positive if the champion became worse. The unit is that of the metric; for mse the variance and
    for mae the standard deviation of the champion's labels. `standard_errors` is the difference divided by
    its standard error, which depends on both numbers of holdout rows.
    """

    metric: str
    promoted: Interval
    today: Interval
    fall: float
    standard_errors: float

    @classmethod
    def from_json(cls, document: JsonObject) -> ScoreChange:
        """Read the change."""
        return cls(
            metric=document.text("metric"),
            promoted=Interval.from_json(document.nested("promoted")),
            today=Interval.from_json(document.nested("today")),
            fall=document.number("fall"),
            standard_errors=document.number("standard_errors"),
        )


@dataclass(frozen=True)
class ColumnMove:
    """How far the values of a column moved since the champion's training rows.

    `mean_shift` is in standard deviations of the champion's rows, and `spread_ratio` is the standard
    deviation divided by the champion's. Both leave out the outer 5 % of the values on each side.
    `lost_values` is the share of the champion's rows whose value no longer occurs. `vocabulary_change` is 0
    for a text with the same frequencies of words, and 1 for a text with other words. A measure that a column
    does not have, or that is infinite, is None in the file.
    """

    column: str
    mean_shift: float | None = None
    spread_ratio: float | None = None
    lost_values: float | None = None
    vocabulary_change: float | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> ColumnMove:
        """Read the move of a column."""
        names = ("mean_shift", "spread_ratio", "lost_values", "vocabulary_change")
        return cls(document.text("column"), *(document.optional_number(name) for name in names))


@dataclass(frozen=True)
class PopulationChange:
    """What moved since the champion was promoted, and which bounds of the promotion rule it exceeds.

    `rows` and `champion_rows` count training rows, holdout and the gap of a split by time. `columns` are
    those whose difference is beyond chance. `exceeded` and `not_compared` are texts for people.
    """

    champion: str
    rows: int
    champion_rows: int | None
    score: ScoreChange | None = None
    columns: tuple[ColumnMove, ...] = ()
    exceeded: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, document: JsonObject) -> PopulationChange:
        """Read the field `population` of `evaluation.json`."""
        rows = document.optional_number("champion_rows")
        return cls(
            champion=document.text("champion"),
            rows=document.integer("rows"),
            champion_rows=None if rows is None else int(rows),
            score=document.optional("score", ScoreChange.from_json),
            columns=tuple(map(ColumnMove.from_json, document.nested_list("columns", []))),
            exceeded=document.text_list("exceeded", []),
            not_compared=document.text_list("not_compared", []),
        )
