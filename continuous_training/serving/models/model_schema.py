"""What callers may know of a model: what it takes, what it gives, and examples of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from continuous_training.artifacts.archive_manifest import MANIFEST, ArchiveManifest
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.json_object import JsonObject
from continuous_training.serving.models.model import Model
from continuous_training.serving.models.schema_inference import infer_schema
from continuous_training.serving.models.versions import LoadedVersion

Schema = dict[str, Any]

EXAMPLES = 5
"""How many golden requests are shown."""


@dataclass(frozen=True)
class Example:
    """A golden request, and the answer that this version gives to it."""

    request: Any
    answer: Any


@dataclass(frozen=True)
class ModelSchema:
    """The JSON Schemas of a model's requests and answers, with examples.

    They are the workload's own, or else inferred from the golden requests: those carry `x-inferred`.
    """

    summary: str
    request: Schema
    answer: Schema
    examples: list[Example]


_known: WeakKeyDictionary[LoadedVersion, ModelSchema] = WeakKeyDictionary()


def model_schema(loaded: LoadedVersion) -> ModelSchema:
    """Return the interface of a loaded version; read once from its folder."""
    if loaded not in _known:
        _known[loaded] = read_model_schema(loaded.model)
    return _known[loaded]


def read_model_schema(model: Model) -> ModelSchema:
    """Read a model's interface from its metadata and from the golden requests beside it, if there are."""
    path = model.folder / MANIFEST
    golden = (
        list(ArchiveManifest.from_json(JsonObject.read(path, ArchiveError)).golden) if path.is_file() else []
    )
    return ModelSchema(
        summary=model.metadata.summary,
        request=_schema(model.metadata.request_schema, [pair.request for pair in golden]),
        answer=_schema(model.metadata.response_schema, [pair.response for pair in golden]),
        examples=[Example(pair.request, pair.response) for pair in golden[:EXAMPLES]],
    )


def _schema(declared: Mapping[str, Any], examples: list[Any]) -> Schema:
    if declared:
        return dict(declared)
    return {**infer_schema(examples), "x-inferred": True}
