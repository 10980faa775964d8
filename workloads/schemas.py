"""JSON Schemas (2020-12) of what callers send and get, from the few pieces that workloads share.

Three annotations say what JSON Schema has no word for, and no validator minds them:
`x-image` on a picture's rows of pixels (`margin`: the share of the side that stays paper around the ink,
`centre`: `box` or `mass`), so that a picture file can be sent in its place and a person can draw one;
`x-range` on a number (`minimum`, `maximum`, `default`, `step`): where sensible values lie, refused or not;
`x-headline` on the part of an answer that a person looks for first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

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
    """Describe one picture: `height` rows of `width` pixels from 0 (paper) to `brightest` (ink)."""
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
    """Describe one row of a table: every column by its name as a number of at most `largest`, no other.

    The columns' own limits are those of the training data and not of a request: they are left out.
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
    """Describe an object of these properties, all required but the optional ones, and no others."""
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def one_or_many(one: str, many: str, item: Schema) -> Schema:
    """Describe a request of one item under the name `one`, or of a list of them under `many`."""
    return {"oneOf": [exactly(**{one: item}), exactly(**{many: {**list_of(item), "minItems": 1}})]}


def list_of(item: Schema, size: int | None = None) -> Schema:
    """Describe a list, of exactly `size` items if given."""
    sized = {} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", "items": item, **sized}


def with_ranges(schema: Any, columns: Iterable[Column], statistics: Mapping[str, Any]) -> Any:
    """Return the schema with an `x-range` at each number that is named like a column with statistics.

    The range is what the training rows span; a number that has one already keeps it.
    """
    ranges = {column.name: _range(column, statistics.get(column.name, {})) for column in columns}
    return _with_ranges(schema, {name: found for name, found in ranges.items() if found})


def _with_ranges(schema: Any, ranges: Mapping[str, Schema]) -> Any:
    if isinstance(schema, list):
        return [_with_ranges(item, ranges) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _with_ranges(value, ranges) for key, value in schema.items()}
    properties = changed.get("properties")
    if isinstance(properties, dict):
        for name, found in properties.items():
            if name in ranges and found.get("type") in ("number", "integer"):
                properties[name] = {"x-range": ranges[name], **found}
    return changed


def _range(column: Column, statistics: Mapping[str, Any]) -> Schema | None:
    whole = column.kind == "integer"
    if column.values and all(isinstance(value, int) for value in column.values):
        counts = statistics.get("counts", {})
        usual = max(column.values, key=lambda value: counts.get(str(value), 0))
        return {"minimum": min(column.values), "maximum": max(column.values), "default": usual, "step": 1}
    if column.kind not in ("integer", "number") or "mean" not in statistics:
        return None
    low, high, mean = (statistics[key] for key in ("minimum", "maximum", "mean"))
    # As fine as a person can tell apart on a slider, in a step of a power of ten.
    step = 1.0 if whole else _step(high - low)
    middle = round(round(mean / step) * step, 6)
    return {"minimum": low, "maximum": high, "default": min(max(middle, low), high), "step": step}


def _step(span: float) -> float:
    step = 1.0
    while span < 100 * step and step > 1e-6:
        step /= 10
    return step
