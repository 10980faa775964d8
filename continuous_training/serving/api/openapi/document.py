"""The OpenAPI document: the paths of the server and of all served models, and their schemas."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata as distributions

from continuous_training.serving.api.openapi.paths import model_paths, model_schemas, server_paths
from continuous_training.serving.json_codec import encode
from continuous_training.serving.models.schema_inference import Schema
from continuous_training.serving.models.versions import ServedModel

_DISTRIBUTION = "continuous-training"

_SCHEMAS: Schema = {
    "Error": {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "the problem, and what to do"},
            "request_id": {"type": "string", "description": "identifies the request in the server's log"},
        },
        "required": ["error"],
    },
    "Ready": {
        "type": "object",
        "properties": {
            "ready": {"type": "boolean"},
            "unavailable": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["ready"],
    },
    "ModelReady": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
        "required": ["name", "ready"],
    },
    "Tensor": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["name", "datatype", "shape"],
    },
    "ModelMetadata": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
        "required": ["name", "platform", "inputs", "outputs"],
    },
}


def openapi_json(models: Mapping[str, ServedModel], root_path: str = "") -> bytes:
    """Return the document of the public port for the models that are served now, as JSON."""
    paths: Schema = {}
    schemas = dict(_SCHEMAS)
    for _, served in sorted(models.items()):
        paths |= model_paths(served)
        schemas |= model_schemas(served)
    paths |= server_paths()
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Model server",
            "version": _version(),
            "description": "The served models: /predict, KServe's V1 protocol, Open Inference Protocol v2.",
        },
        **({"servers": [{"url": root_path}]} if root_path else {}),
        "paths": paths,
        "components": {"schemas": schemas},
    }
    return encode(document)


def _version() -> str:
    try:
        return distributions.version(_DISTRIBUTION)
    except distributions.PackageNotFoundError:
        return "unknown"
