"""The document as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata as distributions
from typing import Any

from continuous_training.serving.api.openapi.paths import model_paths, server_paths
from continuous_training.serving.models.versions import ServedModel

_DISTRIBUTION = "continuous-training"

_SHAPES: dict[str, Any] = {
    "Error": {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "what is wrong, and what to do"},
            "request_id": {"type": "string", "description": "the server's log has more under it"},
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


def document(served: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Describe everything that the public port answers, with the models that are served now."""
    paths: dict[str, Any] = {}
    schemas = dict(_SHAPES)
    for _, one in sorted(served.items()):
        its_paths, its_schemas = model_paths(one)
        paths |= its_paths
        schemas |= its_schemas
    paths |= server_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Model server",
            "version": _version(),
            "description": "The models served now: plain predictions, and the Open Inference Protocol v2.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _version() -> str:
    try:
        return distributions.version(_DISTRIBUTION)
    except distributions.PackageNotFoundError:
        return "unknown"
