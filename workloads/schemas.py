"""Functions that build JSON Schemas (2020-12) of requests and responses.

Three annotations extend JSON Schema; validators ignore them:
`x-image` marks the rows of pixels of a picture, so that clients can send a picture file and the page shows a
canvas (`margin`: the share of the side that is background around the ink, `centre`: `box` or `mass`);
`x-range` on a number gives the range of a slider (`minimum`, `maximum`, `default`, `step`);
`x-headline` marks the most important value of a response.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from continuous_training.artifacts.column_statistics import ColumnStatistics

from .contract import Column, Schema


def picture(
    height: int,
    width: int,
    brightest: float,
    *,
    margin: float = 0.0,
    centre: Literal["box", "mass"] = "box",
    kind: Literal["integer", "number"] = "number",
) -> Schema:
    """Return the schema of a picture: `height` rows of `width` pixels from 0 (paper) to `brightest` (ink)."""
    pixel = {"type": kind, "minimum": 0, "maximum": brightest}
    row = {"type": "array", "items": pixel, "minItems": width, "maxItems": width}
    return {
        "type": "array",
        "description": f"{height} rows of {width} pixels, from 0 (paper) to {brightest} (ink)",
        "items": row,
        "minItems": height,
        "maxItems": height,
        "x-image": {"margin": margin, "centre": centre},
    }


def record(columns: Iterable[Column], largest: float) -> Schema:
    """Return the schema of a table row: an object with a number of at most `largest` for each column.

    The limits of the columns are not used, because they apply to the training data, not to requests.
    """
    properties: dict[str, Schema] = {
        column.name: {
            "type": "number",
            "minimum": -largest,
            "maximum": largest,
            **({"description": column.help} if column.help else {}),
        }
        for column in columns
    }
    return exactly(**properties)


def exactly(*, optional: Mapping[str, Schema] | None = None, **properties: Schema) -> Schema:
    """Return the schema of an object with exactly these properties. The optional ones may be missing."""
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def one_or_many(one: str, many: str, item: Schema) -> Schema:
    """Return the schema of an object with one item under the name `one`, or a list of items under `many`."""
    return {"oneOf": [exactly(**{one: item}), exactly(**{many: {**list_of(item), "minItems": 1}})]}


def list_of(item: Schema, size: int | None = None) -> Schema:
    """Return the schema of a list, with exactly `size` items if given."""
    sized = {} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", "items": item, **sized}


def with_ranges(schema: Any, columns: Iterable[Column], statistics: Mapping[str, ColumnStatistics]) -> Any:
    """Return the schema with an `x-range` at each number that has the name of a column with statistics.

    The range is that of the training rows. An existing `x-range` is kept.
    """
    ranges = {
        column.name: _range(column, statistics.get(column.name, ColumnStatistics(column.kind)))
        for column in columns
    }
    return _with_ranges(schema, {name: value for name, value in ranges.items() if value})


def _with_ranges(schema: Any, ranges: Mapping[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_with_ranges(item, ranges) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _with_ranges(value, ranges) for key, value in schema.items()}
    properties = changed.get("properties")
    if isinstance(properties, dict):
        for name, property_schema in properties.items():
            if name in ranges and property_schema.get("type") in ("number", "integer"):
                properties[name] = {"x-range": ranges[name], **property_schema}
    return changed


def _range(column: Column, statistics: ColumnStatistics) -> Schema | None:
    if column.values and all(isinstance(value, int) for value in column.values):
        counts = statistics.counts or {}
        most_frequent = max(column.values, key=lambda value: counts.get(str(value), 0))
        return {
            "minimum": min(column.values),
            "maximum": max(column.values),
            "default": most_frequent,
            "step": 1,
        }
    low, high, mean = statistics.minimum, statistics.maximum, statistics.mean
    if column.kind not in ("integer", "number") or low is None or high is None or mean is None:
        return None
    # At least 100 steps on a slider, with a step that is a power of ten.
    step = 1.0 if column.kind == "integer" else _step(high - low)
    middle = round(round(mean / step) * step, 6)
    return {"minimum": low, "maximum": high, "default": min(max(middle, low), high), "step": step}


def _step(span: float) -> float:
    step = 1.0
    while span < 100 * step and step > 1e-6:
        step /= 10
    return step
