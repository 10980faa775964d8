"""Inference of a JSON Schema from examples."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from continuous_training.serving.models.schema_inference import infer_schema


@pytest.mark.parametrize(
    ("examples", "schema"),
    [
        ([], {}),
        ([1, 2], {"type": "integer"}),
        ([1, 2.5], {"type": "number"}),
        ([True], {"type": "boolean"}),
        (["a", None], {"type": ["null", "string"]}),
        ([[], [1]], {"type": "array", "items": {"type": "integer"}}),
        ([[]], {"type": "array"}),
        (
            [{"a": 1}, {"b": "x"}],
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}},
        ),
    ],
)
def test_a_schema_describes_the_types_of_the_examples(examples: list[Any], schema: dict[str, Any]) -> None:
    assert infer_schema(examples) == schema


def test_the_examples_and_similar_values_are_valid() -> None:
    examples = [{"x": [[1, 2.5]], "y": None}, {"x": [], "z": {"deep": ["a"]}}]
    validator = Draft202012Validator(infer_schema(examples))
    assert all(validator.is_valid(example) for example in [*examples, {"more": 1}])
    assert not validator.is_valid({"x": "a text"})
