"""Apply the rule of a split to rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.prep_data.row_fingerprint import in_holdout, key_digests
from continuous_training.artifacts.split_rule import SplitRule

TRAIN, HOLDOUT, UNUSED = 0, 1, 2
"""The sides of a split. Rows in the gap of a split by time are unused."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMITS = [
    (datetime(year, month, day, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    for year, month, day in ((1, 1, 1), (9999, 12, 31))
]
_OFFSET = r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$"


def assign_sides(rule: SplitRule, rows: pa.RecordBatch | pa.Table) -> np.ndarray:
    """Return the side of each row by a rule of the kind key, group or time, as an array of int8.

    A value that is not a time counts as early, so its row is a training row.
    """
    values = rows.column(rule.column)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if rule.kind != "time":
        return hash_sides(value_digests(values), rule.share)
    timestamps = parse_times(values).fill_null(_LIMITS[0]).to_numpy()
    after, until = parse_times(pa.array([rule.holdout_after, rule.train_until])).to_pylist()
    result = np.full(len(timestamps), UNUSED, dtype=np.int8)
    result[timestamps > after], result[timestamps <= until] = HOLDOUT, TRAIN
    return result


def hash_sides(digests: np.ndarray, share: float) -> np.ndarray:
    """Return the side of each row with these digests of its key or group."""
    return np.where(in_holdout(digests, share), HOLDOUT, TRAIN).astype(np.int8)


def value_digests(values: pa.Array) -> np.ndarray:
    """Return the first 64 bits of each value's sha256. Each distinct value is hashed once."""
    encoded = values.dictionary_encode()
    digests: np.ndarray = key_digests(encoded.dictionary)[encoded.indices.to_numpy()]
    return digests


def parse_times(values: pa.Array) -> pa.Array:
    """Return times as int64 microseconds since 1970, UTC; null for a value that is not a time.

    Texts are in ISO 8601, numbers are seconds. Times are limited to the years 1 to 9999, so that numbers in
    milliseconds are not accepted as seconds.
    """
    timestamps = _parse_texts(values) if pa.types.is_string(values.type) else _to_microseconds(values)
    valid = pc.and_(pc.greater_equal(timestamps, _LIMITS[0]), pc.less_equal(timestamps, _LIMITS[1]))
    return pc.if_else(valid, timestamps, None)


def format_time(microseconds: int) -> str:
    """Return a time in ISO 8601, UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")


def _to_microseconds(numbers: pa.Array) -> pa.Array:
    limit = _LIMITS[1] / 1e6
    in_range = pc.and_(pc.greater_equal(numbers, -limit), pc.less_equal(numbers, limit))
    return pc.cast(pc.round(pc.multiply(pc.if_else(in_range, numbers, None), 1_000_000)), pa.int64())


def _parse_texts(texts: pa.Array) -> pa.Array:
    try:
        return _cast(texts)
    except pa.ArrowInvalid:
        # A cast reports only that there is an invalid text, so the distinct texts are parsed separately.
        encoded = texts.dictionary_encode()
        return pa.concat_arrays(map(_parse_text, encoded.dictionary)).take(encoded.indices)


def _parse_text(text: pa.StringScalar) -> pa.Array:
    try:
        return _cast(pa.array([text.as_py()], pa.string()))
    except pa.ArrowInvalid:
        return pa.nulls(1, pa.int64())


def _cast(texts: pa.Array) -> pa.Array:
    has_offset = pc.match_substring_regex(texts, _OFFSET)
    local = pc.cast(pc.if_else(has_offset, None, texts), pa.timestamp("us"))
    absolute = pc.cast(pc.if_else(has_offset, texts, None), pa.timestamp("us", "UTC"))
    return pc.coalesce(local.cast(pa.int64()), absolute.cast(pa.int64()))
