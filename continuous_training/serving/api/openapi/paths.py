"""The operations of the document: those of each model, and those of the server."""

from __future__ import annotations

from typing import Any

from continuous_training.serving.api.image_decoding import FORMATS
from continuous_training.serving.api.multipart import FORM, ImageFields, image_fields
from continuous_training.serving.api.openapi import tensors
from continuous_training.serving.models.model_schema import ModelSchema, model_schema
from continuous_training.serving.models.versions import ServedModel

Schema = dict[str, Any]

_ERRORS = {
    400: "The request does not fit the model; the words say where.",
    404: "No such model or version is served; the words list those that are.",
    408: "The body did not arrive in time.",
    413: "The body is larger than the server takes.",
    415: "The body is of a type that is not read here.",
    500: "The handler or the server failed; its log has more under the request id.",
    503: "The model is not available (yet), or the server is busy: try again.",
}
_ASKING = (400, 404, 408, 413, 415, 500, 503)
_VERSION_HEADERS = {
    "x-model-version": {
        "description": "the version that answered",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
    },
    "x-model-digest": {
        "description": "the sha256 of its archive",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
}


def model_paths(served: ServedModel) -> tuple[dict[str, Any], dict[str, Schema]]:
    """Return one model's paths, and the schemas that they refer to."""
    name, model, interface = served.name, served.model, model_schema(served.current)
    schemas = {
        f"{name}.Request": interface.request,
        f"{name}.Answer": interface.answer,
        f"{name}.InferRequest": tensors.infer_request(model),
        f"{name}.InferResponse": tensors.infer_response(model),
    }
    example = tensors.infer_example(model, interface)
    base = f"/v2/models/{name}"
    paths = {f"/predict/{name}": {"post": _predict(served, interface)}}
    versions = [one.version for one in (served.current, served.previous) if one is not None]
    asked = {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "a version that is served",
        "schema": {"type": "string", "enum": versions},
    }
    for path, which, parameters in ((base, "", []), (f"{base}/versions/{{version}}", "_version", [asked])):
        of = {"tags": [name], **({"parameters": parameters} if parameters else {})}
        paths[path] = {
            "get": {
                **of,
                "operationId": f"metadata_{name}{which}",
                "summary": "Inputs and outputs, with their types and shapes",
                "responses": {
                    "200": _json({"$ref": "#/components/schemas/ModelMetadata"}),
                    **_errors(404, 503),
                },
            }
        }
        paths[f"{path}/ready"] = {
            "get": {
                **of,
                "operationId": f"ready_{name}{which}",
                "summary": "Whether it can be asked",
                "responses": {"200": _json({"$ref": "#/components/schemas/ModelReady"}), **_errors(404, 503)},
            }
        }
        paths[f"{path}/infer"] = {"post": {**of, **_infer(name, which, example)}}
    return paths, schemas


def _predict(served: ServedModel, interface: ModelSchema) -> dict[str, Any]:
    name = served.name
    slots = image_fields(interface.request)
    content: dict[str, Any] = {
        "application/json": {
            "schema": _ref(name, "Request"),
            **_examples([example.request for example in interface.examples]),
        }
    }
    if slots is not None:
        content |= _uploads(slots)
    shown = {
        "type": "object",
        "properties": {"request": {}, "answer": _ref(name, "Answer")},
        "required": ["request", "answer"],
        "description": "with illustrate=true",
    }
    inferred = interface.request.get("x-inferred")
    note = (
        "\n\nThe schemas were inferred from the golden requests: they show what there is." if inferred else ""
    )
    return {
        "tags": [name],
        "operationId": f"predict_{name}",
        "summary": interface.summary or f"Ask {name}",
        "description": f"A request and an answer in the workload's own words.{note}",
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
                "description": 'true: {"request", "answer"}, with what helps to see them, such as pictures',
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                **_json(
                    {"anyOf": [_ref(name, "Answer"), shown]},
                    _examples([example.answer for example in interface.examples]),
                ),
                "headers": _VERSION_HEADERS,
            },
            **_errors(*_ASKING),
        },
    }


def _uploads(slots: ImageFields) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    name = slots.one or slots.many or ""
    several = {"type": "array", "items": file, "minItems": 1}
    form = {
        "type": "object",
        "properties": {name: several if slots.many else file, **slots.others},
        "required": [name],
        "additionalProperties": False,
    }
    return {FORM: {"schema": form}, **{kind: {"schema": file} for kind in FORMATS}}


def _infer(name: str, which: str, example: Any) -> dict[str, Any]:
    return {
        "operationId": f"infer_{name}{which}",
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
            **_errors(*_ASKING),
        },
    }


def server_paths() -> dict[str, Any]:
    """Return the paths that do not depend on what is served."""
    ready = {"$ref": "#/components/schemas/Ready"}
    return {
        "/v2": _get("server", "The server and its extensions", {"200": _json({"type": "object"})}),
        "/v2/health/live": _get("live", "Whether the server answers", {"200": _json({"type": "object"})}),
        "/v2/health/ready": _get(
            "ready",
            "Whether every model that should be served is",
            {"200": _json(ready), "503": {**_json(ready), "description": "Some model is not, or it stops."}},
        ),
        "/v2/models": _get("models", "What is served", {"200": _json({"type": "object"})}),
    }


def _get(operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"tags": ["server"], "operationId": operation, "summary": summary, "responses": responses}}


def _ref(name: str, what: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}.{what}"}


def _json(schema: Schema, more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": "OK", "content": {"application/json": {"schema": schema, **(more or {})}}}


def _examples(values: list[Any]) -> dict[str, Any]:
    named = {f"golden-{number}": {"value": value} for number, value in enumerate(values, start=1)}
    return {"examples": named} if named else {}


def _errors(*statuses: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {str(status): {**_json(schema), "description": _ERRORS[status]} for status in statuses}
