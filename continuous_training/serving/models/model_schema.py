"""The JSON Schemas of a model's requests and responses, with examples, for API documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from continuous_training.artifacts.archive_manifest import MANIFEST, ArchiveManifest
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.artifacts.golden_requests import GoldenRequest
from continuous_training.core.json_object import JsonObject
from continuous_training.serving.models.model import Model
from continuous_training.serving.models.schema_inference import Schema, infer_schema
from continuous_training.serving.models.versions import LoadedVersion

MAX_EXAMPLES = 5
"""The maximum number of golden requests that are shown as examples."""


@dataclass(frozen=True)
class ModelSchema:
    """The schemas of a model's requests and responses.

    The workload declares them. Schemas that it does not declare are inferred from the golden requests and
    contain `x-inferred`.
    """

    summary: str
    request: Schema
    response: Schema
    examples: tuple[GoldenRequest, ...]


_schemas: WeakKeyDictionary[LoadedVersion, ModelSchema] = WeakKeyDictionary()


def model_schema(version: LoadedVersion) -> ModelSchema:
    """Return the schema of a loaded version. It is read once and cached."""
    if version not in _schemas:
        _schemas[version] = read_model_schema(version.model)
    return _schemas[version]


def read_model_schema(model: Model) -> ModelSchema:
    """Read a model's schema from its metadata and, if the archive has them, its golden requests."""
    path = model.folder / MANIFEST
    golden: tuple[GoldenRequest, ...] = ()
    if path.is_file():
        golden = ArchiveManifest.from_json(JsonObject.read(path, ArchiveError)).golden.requests
    return ModelSchema(
        summary=model.metadata.summary,
        request=_schema(model.metadata.request_schema, [pair.request for pair in golden]),
        response=_schema(model.metadata.response_schema, [pair.response for pair in golden]),
        examples=golden[:MAX_EXAMPLES],
    )


def _schema(declared: Mapping[str, Any], examples: Sequence[Any]) -> Schema:
    return dict(declared) if declared else {**infer_schema(examples), "x-inferred": True}
