"""Inference of a JSON Schema from examples, for models whose workload declares none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

Schema = dict[str, Any]
"""A JSON Schema."""


def infer_schema(examples: Sequence[Any]) -> Schema:
    """Return a schema of the examples' types, or `{}` if the examples have no JSON type.

    All properties are optional and additional properties are allowed, because examples do not show which
    properties are required.
    """
    types = sorted({_json_type(example) for example in examples} - {""})
    if "integer" in types and "number" in types:
        types.remove("integer")
    if not types:
        return {}
    schema: Schema = {"type": types[0] if len(types) == 1 else types}
    if "array" in types:
        lists = [example for example in examples if isinstance(example, list)]
        if items := infer_schema(list(chain.from_iterable(lists))):
            schema["items"] = items
    if "object" in types:
        objects = [example for example in examples if isinstance(example, dict)]
        names = dict.fromkeys(chain.from_iterable(objects))
        schema["properties"] = {
            name: infer_schema([item[name] for item in objects if name in item]) for name in names
        }
    return schema


def _json_type(value: Any) -> str:
    """Return the name of a value's JSON type, or an empty string."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "")
