"""The JSON of the product, against `json.dumps`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.files import to_json

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda values: st.lists(values) | st.dictionaries(st.text(), values) | st.tuples(values, values),
    max_leaves=20,
)


def reference(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


@given(VALUES)
def test_the_text_is_that_of_json_dumps(value: Any) -> None:
    assert to_json(value) == reference(value)


@pytest.mark.parametrize(
    "value",
    [{"a": {1: [1, 2], 10: {}, 2: "x\ny"}}, {"a": [{}, [], ()], "b": [[[1]], {"c": None}]}, {True: 1}],
)
def test_other_keys_and_empty_values(value: Any) -> None:
    assert to_json(value) == reference(value)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {"b": [-float("inf")]}}])
def test_numbers_that_json_lacks_are_rejected(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(value)
