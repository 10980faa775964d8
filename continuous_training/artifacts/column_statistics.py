"""The statistics of a column of a dataset, as `dataset.json`, `model.json` and the run history store them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from continuous_training.core.json_object import Json, JsonObject

LOG_GRID = "log"
"""The value of `grid` for a histogram over the used bins of a logarithmic grid."""


@dataclass(frozen=True)
class Quantiles:
    """For each of some ascending `values`: how many numbers are less, and how many are less or equal."""

    values: tuple[float, ...]
    less: tuple[float, ...]
    less_or_equal: tuple[float, ...]

    @classmethod
    def from_json(cls, document: JsonObject) -> Quantiles:
        """Read the field `quantiles`. Raises the document's error if it is empty, or of unequal lengths."""
        quantiles = cls(*(document.numbers(key) for key in ("values", "less", "less_or_equal")))
        length = len(quantiles.values)
        if not length or {len(quantiles.less), len(quantiles.less_or_equal)} != {length}:
            raise document.invalid("values", "a list with as many numbers as less and less_or_equal")
        return quantiles

    def to_json(self) -> Json:
        """Return the field `quantiles`."""
        return {name: list(numbers) for name, numbers in vars(self).items()}


@dataclass(frozen=True)
class Histogram:
    """The number of values between each two neighbouring `edges`; one count less than edges.

    `grid` is LOG_GRID if the edges are the used part of a logarithmic grid, otherwise empty.
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]
    grid: str = ""


@dataclass(frozen=True)
class ColumnStatistics:
    """The number of rows, and the distribution in the form that suits the column. Other fields are None.

    A column of categories has `counts` per value; an entry of kind "characters" has the weight of each kind
    of character; an entry of kind "words" has `word_counts`, the number of texts by the hash bin of a word.
    All other columns have moments, the exact extremes, quantiles and a histogram of their numbers or lengths.
    Older documents have no quantiles; `rows` is None if it is not known.
    """

    kind: str
    rows: int | None = None
    counts: Mapping[str, float] | None = None
    word_counts: tuple[int, ...] | None = None
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    histogram: Histogram | None = None
    quantiles: Quantiles | None = None

    @classmethod
    def from_json(cls, document: JsonObject) -> ColumnStatistics:
        """Read the statistics of one column. Raises the document's error for a field of another type."""
        return cls(
            kind=document.text("kind", ""),
            rows=document.integer("rows") if "rows" in document else None,
            counts=document.numbers_by_name("counts") if "counts" in document else None,
            word_counts=_counts_of_words(document) if "words" in document else None,
            mean=document.optional_number("mean"),
            std=document.optional_number("std"),
            minimum=document.optional_number("minimum"),
            maximum=document.optional_number("maximum"),
            histogram=_histogram(document) if "histogram" in document else None,
            quantiles=document.optional("quantiles", Quantiles.from_json),
        )

    def to_json(self) -> Json:
        """Return the fields that the column has."""
        histogram = self.histogram
        fields = {
            "kind": self.kind,
            "rows": self.rows,
            "counts": None if self.counts is None else dict(self.counts),
            # One text is shorter than a list with a line for each count.
            "words": None if self.word_counts is None else " ".join(map(str, self.word_counts)),
            "mean": self.mean,
            "std": self.std,
            "grid": (histogram.grid or None) if histogram else None,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "edges": list(histogram.edges) if histogram else None,
            "histogram": list(histogram.counts) if histogram else None,
            "quantiles": self.quantiles.to_json() if self.quantiles else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def statistics_to_json(statistics: Mapping[str, ColumnStatistics]) -> Json:
    """Return the field `statistics` of a document: the statistics of each column, by name."""
    return {name: column.to_json() for name, column in statistics.items()}


def _histogram(document: JsonObject) -> Histogram:
    edges, counts = document.numbers("edges"), document.numbers("histogram")
    if len(edges) != len(counts) + 1:
        raise document.invalid("edges", "a list with one number more than the histogram")
    return Histogram(edges, counts, document.text("grid", ""))


def _counts_of_words(document: JsonObject) -> tuple[int, ...]:
    try:
        return tuple(map(int, document.text("words").split()))
    except ValueError:
        raise document.invalid("words", "a text with whole numbers") from None
