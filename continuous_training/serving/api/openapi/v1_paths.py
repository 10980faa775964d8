"""The operations of the V1 protocol in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from continuous_training.serving.api.v1_endpoints import MAX_INSTANCES
from continuous_training.serving.models.schema_inference import Schema


def predict_v1(name: str, request: Schema, response: Schema, examples: list[Any]) -> Schema:
    """Return the operation without its responses other than 200; the schemas are those of `/predict`."""
    return {
        "tags": [name],
        "operationId": f"predict_v1_{name}",
        "summary": "Instances in, predictions out (KServe V1 protocol)",
        "description": f"An instance is a request of /predict/{name}, and its prediction is the response.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _list_of("instances", request, minItems=1, maxItems=MAX_INSTANCES),
                    **({"example": {"instances": examples}} if examples else {}),
                }
            },
        },
        "responses": {
            "200": {
                "description": "OK",
                "content": {"application/json": {"schema": _list_of("predictions", response)}},
            }
        },
    }


def model_ready_v1(name: str) -> Schema:
    """Return the operation that reports whether a model is served."""
    schema = {"$ref": "#/components/schemas/ModelReady"}
    return {
        "tags": [name],
        "operationId": f"ready_v1_{name}",
        "summary": "Whether the model is loaded (KServe V1 protocol)",
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
    }


def _list_of(key: str, items: Schema, **limits: int) -> Schema:
    return {
        "type": "object",
        "properties": {key: {"type": "array", "items": items, **limits}},
        "required": [key],
    }
