"""A JSON Schema from examples alone, for a model whose workload gives none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

Schema = dict[str, Any]


def infer_schema(examples: Sequence[Any]) -> Schema:
    """Describe the types that the examples have, and refuse nothing else: `{}` where they tell nothing.

    Every property is optional and others are allowed, since examples show what there is and not what
    there must be.
    """
    kinds = sorted({_kind(example) for example in examples} - {""})
    if "integer" in kinds and "number" in kinds:
        kinds.remove("integer")
    if not kinds:
        return {}
    schema: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if "array" in kinds:
        lists = [example for example in examples if isinstance(example, list)]
        if items := infer_schema(list(chain.from_iterable(lists))):
            schema["items"] = items
    if "object" in kinds:
        objects = [example for example in examples if isinstance(example, dict)]
        names = dict.fromkeys(chain.from_iterable(objects))
        schema["properties"] = {
            name: infer_schema([found[name] for found in objects if name in found]) for name in names
        }
    return schema


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    kinds = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "")
