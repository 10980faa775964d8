"""The operations of the OpenAPI document, per model and for the server."""

from __future__ import annotations

from typing import Any

from continuous_training.serving.api.image_decoding import MEDIA_TYPES
from continuous_training.serving.api.multipart import FORM, ImageFields, image_fields
from continuous_training.serving.api.openapi import tensor_schemas, v1_paths
from continuous_training.serving.models.model_schema import ModelSchema, model_schema
from continuous_training.serving.models.schema_inference import Schema
from continuous_training.serving.models.versions import ServedModel

_ERRORS = {
    400: "The request is invalid. The message names the field.",
    404: "The model or the version is not served. The message lists the served ones.",
    408: "The body did not arrive in time.",
    413: "The body is larger than the server's limit.",
    415: "The content type of the body is not supported.",
    500: "The handler or the server failed. The server's log has the details under the request id.",
    503: "The model is not loaded (yet), or the server is overloaded. Try again.",
}
_INFERENCE_ERRORS = (400, 404, 408, 413, 415, 500, 503)
_VERSION_HEADERS = {
    "x-model-version": {
        "description": "the version that produced the response",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
    },
    "x-model-digest": {
        "description": "the SHA-256 digest of its archive",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
}


def model_schemas(served: ServedModel) -> dict[str, Schema]:
    """Return the schemas that the paths of a model refer to."""
    name, model, schema = served.name, served.model, model_schema(served.current)
    return {
        f"{name}.Request": schema.request,
        f"{name}.Answer": schema.response,
        f"{name}.InferRequest": tensor_schemas.infer_request(model),
        f"{name}.InferResponse": tensor_schemas.infer_response(model),
    }


def model_paths(served: ServedModel) -> Schema:
    """Return the paths of one model."""
    name, schema = served.name, model_schema(served.current)
    example = tensor_schemas.infer_example(served.model, schema)
    base = f"/v2/models/{name}"
    version_parameter = {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "a served version",
        "schema": {"type": "string", "enum": [version.version for version in served.versions()]},
    }
    return {
        f"/predict/{name}": {"post": _predict(served, schema)},
        **_v1_paths(name, schema),
        **_v2_paths(base, name, "", {"tags": [name]}, example),
        **_v2_paths(
            f"{base}/versions/{{version}}",
            name,
            "_version",
            {"tags": [name], "parameters": [version_parameter]},
            example,
        ),
    }


def _v1_paths(name: str, schema: ModelSchema) -> Schema:
    examples = [example.request for example in schema.examples]
    predict = v1_paths.predict_v1(name, _ref(name, "Request"), _ref(name, "Answer"), examples)
    predict["responses"]["200"]["headers"] = _VERSION_HEADERS
    predict["responses"] |= _errors(*_INFERENCE_ERRORS)
    ready = v1_paths.model_ready_v1(name)
    ready["responses"] |= _errors(404, 503)
    return {f"/v1/models/{name}": {"get": ready}, f"/v1/models/{name}:predict": {"post": predict}}


def _v2_paths(path: str, name: str, suffix: str, shared: Schema, example: Any) -> Schema:
    """Return the v2 paths below `path`. `suffix` makes the operation ids unique."""
    metadata = {
        **shared,
        "operationId": f"metadata_{name}{suffix}",
        "summary": "Inputs and outputs, with their types and shapes",
        "responses": {"200": _json({"$ref": "#/components/schemas/ModelMetadata"}), **_errors(404, 503)},
    }
    ready = {
        **shared,
        "operationId": f"ready_{name}{suffix}",
        "summary": "Whether the model is loaded",
        "responses": {"200": _json({"$ref": "#/components/schemas/ModelReady"}), **_errors(404, 503)},
    }
    return {
        path: {"get": metadata},
        f"{path}/ready": {"get": ready},
        f"{path}/infer": {"post": {**shared, **_infer(name, suffix, example)}},
    }


def _predict(served: ServedModel, schema: ModelSchema) -> Schema:
    name = served.name
    note = ""
    if schema.request.get("x-inferred"):
        note = "\n\nThe schemas are inferred from the golden requests and can be incomplete."
    return {
        "tags": [name],
        "operationId": f"predict_{name}",
        "summary": schema.summary or f"Run {name}",
        "description": f"A request and a response in the workload's own format.{note}",
        "x-model": {
            "name": name,
            "version": served.current.version,
            "digest": served.digest,
            "loaded_at": served.loaded_at,
        },
        "parameters": [
            {
                "name": "illustrate",
                "in": "query",
                "description": 'true: return {"request", "answer"} with illustrations, such as images',
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {"required": True, "content": _predict_content(name, schema)},
        "responses": {"200": _predict_response(name, schema), **_errors(*_INFERENCE_ERRORS)},
    }


def _predict_content(name: str, schema: ModelSchema) -> Schema:
    """Return the request bodies of `/predict` by media type."""
    examples = _examples([example.request for example in schema.examples])
    images = image_fields(schema.request)
    return {
        "application/json": {"schema": _ref(name, "Request"), **examples},
        **({} if images is None else _uploads(images)),
    }


def _predict_response(name: str, schema: ModelSchema) -> Schema:
    illustrated = {
        "type": "object",
        "properties": {"request": {}, "answer": _ref(name, "Answer")},
        "required": ["request", "answer"],
        "description": "with illustrate=true",
    }
    examples = _examples([example.response for example in schema.examples])
    return {**_json({"anyOf": [_ref(name, "Answer"), illustrated]}, examples), "headers": _VERSION_HEADERS}


def _uploads(fields: ImageFields) -> Schema:
    """Return the request bodies that contain image files."""
    file = {"type": "string", "format": "binary"}
    name = fields.single or fields.multiple or ""
    files = {"type": "array", "items": file, "minItems": 1}
    form = {
        "type": "object",
        "properties": {name: files if fields.multiple else file, **fields.other_fields},
        "required": [name],
        "additionalProperties": False,
    }
    return {FORM: {"schema": form}, **{media_type: {"schema": file} for media_type in MEDIA_TYPES}}


def _infer(name: str, suffix: str, example: Any) -> Schema:
    return {
        "operationId": f"infer_{name}{suffix}",
        "summary": "Tensors in, tensors out (Open Inference Protocol v2)",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref(name, "InferRequest"),
                    **_examples([] if example is None else [example]),
                }
            },
        },
        "responses": {
            "200": {**_json(_ref(name, "InferResponse")), "headers": _VERSION_HEADERS},
            **_errors(*_INFERENCE_ERRORS),
        },
    }


def server_paths() -> Schema:
    """Return the paths that do not depend on the served models."""
    ready = {"$ref": "#/components/schemas/Ready"}
    return {
        "/v1/models": _get("models_v1", "The names of the served models", {"200": _json({"type": "object"})}),
        "/v2": _get("server", "The server and its extensions", {"200": _json({"type": "object"})}),
        "/v2/health/live": _get("live", "Whether the server responds", {"200": _json({"type": "object"})}),
        "/v2/health/ready": _get(
            "ready",
            "Whether every configured model is served",
            {
                "200": _json(ready),
                "503": {**_json(ready), "description": "A model is not loaded, or the server is stopping."},
            },
        ),
        "/v2/models": _get("models", "The served models", {"200": _json({"type": "object"})}),
    }


def _get(operation: str, summary: str, responses: Schema) -> Schema:
    return {"get": {"tags": ["server"], "operationId": operation, "summary": summary, "responses": responses}}


def _ref(name: str, schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}.{schema}"}


def _json(schema: Schema, media_type: Schema | None = None) -> Schema:
    """Return a JSON response. `media_type` has the additional fields of the media type object."""
    return {"description": "OK", "content": {"application/json": {"schema": schema, **(media_type or {})}}}


def _examples(values: list[Any]) -> Schema:
    examples = {f"golden-{number}": {"value": value} for number, value in enumerate(values, start=1)}
    return {"examples": examples} if examples else {}


def _errors(*statuses: int) -> Schema:
    schema = {"$ref": "#/components/schemas/Error"}
    return {str(status): {**_json(schema), "description": _ERRORS[status]} for status in statuses}
