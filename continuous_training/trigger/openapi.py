"""The OpenAPI document of the trigger service."""

from __future__ import annotations

from functools import cache

from continuous_training.core.json_object import Json
from continuous_training.trigger.run_body import MAX_KEY, MAX_REASON, MAX_VERSION

_ERRORS = {
    "400": "the request is invalid",
    "401": "the token is missing or not valid",
    "403": "the caller does not have the right",
    "404": "there is no such pipeline or run",
    "408": "the body did not arrive in time",
    "409": "another run already waits, or the decision about the version is not possible",
    "413": "the body is too large",
    "415": "the body is not JSON",
    "422": "the key belongs to another request",
    "429": "the caller sends too many requests",
    "501": "the service has no permission to change what the cluster serves",
    "502": "the store or the pipelines cannot be used",
    "503": "the store or the pipelines are temporarily unavailable",
}


_BODY_ERRORS = ("400", "401", "404", "408", "413", "415", "429", "502", "503")
_DECISION_ERRORS = ("403", "409", "501")


@cache
def openapi_document() -> Json:
    """Return the document. It does not depend on the pipelines: `GET /pipelines` has their schemas."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trigger service", "version": "1", "description": "Starts runs of pipelines."},
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "StartRun": _body("parameters", "reason", "key", "version"),
                "Train": _body("workload", "parameters", "reason", "key", "version"),
                "Cancel": _body("reason"),
                "Decide": _body("reason"),
                "RollBack": _body("reason", "version", "champion"),
                "Run": _run_schema(),
                "Rollback": _rollback_schema(),
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                },
            },
        },
    }


def _paths() -> Json:
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    run = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    start = {
        "202": _response("the new run", "Run"),
        "200": _response("the run that an earlier request has started", "Run"),
    }
    read_errors = ("401", "404", "502", "503")
    start_errors = (*_BODY_ERRORS, "403", "409", "422")
    return {
        "/pipelines": {"get": _operation("List the pipelines and their parameters", ("401",), _pipelines())},
        "/pipelines/{name}/runs": {
            "parameters": [name],
            "post": _operation("Start a run", start_errors, start, "StartRun"),
        },
        "/pipelines/{name}/rollback": {
            "parameters": [name],
            "post": _operation(
                "Serve an earlier version again",
                (*_BODY_ERRORS, *_DECISION_ERRORS),
                {"200": _response("the rollback", "Rollback")},
                "RollBack",
            ),
        },
        "/train": {"post": _operation("Start a run, for people", start_errors, start, "Train")},
        "/runs/{id}": {
            "parameters": [run],
            "get": _operation("Read a run", read_errors, {"200": _response("the run", "Run")}),
        },
        "/runs/{id}/cancel": {
            "parameters": [run],
            "post": _operation("Cancel a run", _BODY_ERRORS, {"202": _response("the run", "Run")}, "Cancel"),
        },
        "/runs/{id}/approve": _decision("Approve the version of a run that waits, and serve it", run),
        "/runs/{id}/reject": _decision("Reject the version of a run that waits", run),
    }


def _decision(summary: str, run: Json) -> Json:
    responses = {"200": _response("the run after the decision", "Run")}
    return {
        "parameters": [run],
        "post": _operation(summary, (*_BODY_ERRORS, *_DECISION_ERRORS), responses, "Decide"),
    }


def _operation(summary: str, errors: tuple[str, ...], responses: Json, body: str = "") -> Json:
    failures = {status: _response(_ERRORS[status], "Error") for status in sorted(errors)}
    operation: Json = {"summary": summary, "responses": {**responses, **failures}}
    if body:
        schema = {"$ref": f"#/components/schemas/{body}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


def _response(description: str, schema: str) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _pipelines() -> Json:
    schema = {
        "type": "object",
        "required": ["pipelines"],
        "properties": {"pipelines": {"type": "array", "items": {"type": "object"}}},
    }
    return {"200": {"description": "the pipelines", "content": {"application/json": {"schema": schema}}}}


def _body(*fields: str) -> Json:
    # Control characters are not permitted in texts.
    pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"
    text = {"type": "string", "pattern": pattern}
    properties = {
        "workload": {**text, "maxLength": MAX_KEY, "description": "the name of the pipeline"},
        "parameters": {"type": "object", "description": "run parameters; see GET /pipelines"},
        "reason": {**text, "maxLength": MAX_REASON, "description": "recorded with the run"},
        "key": {**text, "maxLength": MAX_KEY, "description": "the same key within the window: the same run"},
        "version": {
            **text,
            "maxLength": MAX_VERSION,
            "description": "the pipeline's version, or the model's version in a rollback; default: current",
        },
        "champion": {
            **text,
            "maxLength": MAX_VERSION,
            "description": "the version that must be the champion",
        },
    }
    return {
        "type": "object",
        "properties": {name: properties[name] for name in fields},
        "additionalProperties": False,
    }


def _run_schema() -> Json:
    text, optional = {"type": "string"}, {"type": ["string", "null"]}
    return {
        "type": "object",
        "required": ["id", "workload", "state", "verdict", "steps", "caller", "reason", "links"],
        "properties": {
            "id": text,
            "workload": text,
            "state": {"enum": ["waiting", "running", "ended"]},
            "verdict": optional,
            "reasons": {"type": "array", "items": text},
            "steps": {"type": "object", "additionalProperties": text},
            "run": optional,
            "requested": text,
            "started": optional,
            "ended": optional,
            "caller": text,
            "reason": text,
            "key": text,
            "version": text,
            "parameters": {"type": "object"},
            "cancelled": {"type": ["object", "null"]},
            "links": {"type": "object", "additionalProperties": text},
        },
    }


def _rollback_schema() -> Json:
    text, optional = {"type": "string"}, {"type": ["string", "null"]}
    version = {"type": "object", "properties": {"version": text, "digest": text}}
    return {
        "type": "object",
        "required": ["workload", "run", "verdict", "reasons", "from", "to", "previous", "by"],
        "properties": {
            "workload": text,
            "run": text,
            "verdict": text,
            "reasons": {"type": "array", "items": text},
            "from": {**version, "type": ["object", "null"]},
            "to": version,
            "previous": optional,
            "by": text,
            "endpoint": text,
        },
    }
