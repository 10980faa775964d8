"""JSON bodies of up to 8 MB with too many values or rows, and the start of the error that rejects them."""

from __future__ import annotations

import json

from continuous_training.serving.json_limits import DEFAULT_LIMITS
from continuous_training.serving.models.request_limits import MAX_ROWS_PER_REQUEST

ROWS = 250_000
TOO_MANY_ROWS = f"the request has {ROWS} rows, and the limit is {MAX_ROWS_PER_REQUEST}: send several requests"
_VALUES = f"the body has more than {DEFAULT_LIMITS.values} values: send several requests"
_CONTAINERS = (
    f"the body has more than {DEFAULT_LIMITS.containers} lists, objects, strings and keys: "
    "send several requests"
)
_TENSOR = {"name": "x", "datatype": "FP32", "shape": [ROWS], "data": [1] * ROWS}

MANY_ROWS = {
    "/predict/toy": json.dumps({"x": [1] * ROWS}).encode(),
    "/v2/models/toy/infer": json.dumps({"inputs": [_TENSOR]}).encode(),
}
"""Bodies with too many rows by path."""

MANY_VALUES = {
    "nested lists": (b'{"x": [' + b"[]," * 2_000_000 + b"[]]}", _VALUES),
    "lists in lists": (b"[[]" * 200_000 + b"]" * 200_000, _CONTAINERS),
    "numbers": (b'{"x": [' + b"1," * 4_000_000 + b"1]}", _VALUES),
    "keys": (json.dumps(dict.fromkeys(map(str, range(200_000)), 1)).encode(), _CONTAINERS),
    "strings": (b'["' + b'","' * 200_000 + b'"]', _CONTAINERS),
    "incomplete string": (b'["' + b"[," * 600_000, "the body is not valid JSON"),
}
"""Bodies with too many values, with the start of the error."""
