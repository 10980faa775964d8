"""Requests that change registered models, answered with the tables of a local registry.

They store what MLflow 3.17 stores. MLflow's server answers a request with an effect that depends on more than
these tables: an invalid name, a model or a version that does not exist, a registry with webhooks. It also
deletes versions.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable

from continuous_training.adapters.experiment_tracking import now_ms
from continuous_training.adapters.tracking_database import are_valid_tags, exists
from continuous_training.core.json_object import Json

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ALIAS = re.compile(r"(?!latest$)[a-z]{2,50}")
_SOURCE = re.compile(r"mlflow-artifacts:/[A-Za-z0-9_/-]{1,400}")

_HAS_WEBHOOKS = "SELECT EXISTS (SELECT 1 FROM webhooks)"
_HAS_MODEL = "SELECT EXISTS (SELECT 1 FROM registered_models WHERE workspace = 'default' AND name = :name)"
_HAS_VERSION = """
SELECT EXISTS (SELECT 1 FROM model_versions WHERE workspace = 'default' AND name = :name
    AND version = :version AND current_stage != 'Deleted_Internal')
"""
_CREATE_MODEL = (
    "INSERT INTO registered_models (name, creation_time, last_updated_time, description) VALUES (?, ?, ?, '')"
)
_UPDATE_MODEL = "UPDATE registered_models SET last_updated_time = ? WHERE workspace = 'default' AND name = ?"
_NEXT_VERSION = (
    "SELECT coalesce(max(version), 0) + 1 FROM model_versions WHERE workspace = 'default' AND name = ?"
)
_CREATE_VERSION = """
INSERT INTO model_versions (name, version, creation_time, last_updated_time, description, current_stage,
    source, storage_location, run_id, run_link, status)
VALUES (:name, :version, :now, :now, '', 'None', :source, :source, :run_id, '', 'READY')
"""
_SET_MODEL_TAG = "INSERT OR REPLACE INTO registered_model_tags (name, key, value) VALUES (?, ?, ?)"
_DELETE_MODEL_TAG = "DELETE FROM registered_model_tags WHERE workspace = 'default' AND name = ? AND key = ?"
_SET_VERSION_TAG = "INSERT OR REPLACE INTO model_version_tags (name, version, key, value) VALUES (?, ?, ?, ?)"
_SET_ALIAS = "INSERT OR REPLACE INTO registered_model_aliases (name, alias, version) VALUES (?, ?, ?)"
_DELETE_ALIAS = "DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND alias = ?"


def changes(method: str, path: str) -> bool:
    """Return whether `change` may answer a request."""
    return (method, path) in _HANDLERS


def change(connection: sqlite3.Connection, method: str, path: str, body: Json) -> Json | None:
    """Return the body of the response, or None if only MLflow's server can answer the request.

    A body with an `error_code` is the response to an error. The caller commits the transaction, or rolls it
    back for None. Raises LookupError for a missing field, ValueError for a version that is no number, and
    sqlite3.Error.
    """
    if not _NAME.fullmatch(body["name"]) or exists(connection, _HAS_WEBHOOKS):
        return None
    return _HANDLERS[method, path](connection, body)


def _create_model(connection: sqlite3.Connection, body: Json) -> Json | None:
    now, name = now_ms(), body["name"]
    if set(body) != {"name"}:
        return None
    if exists(connection, _HAS_MODEL, name=name):
        return {"error_code": "RESOURCE_ALREADY_EXISTS", "message": f"model {name} exists"}
    connection.execute(_CREATE_MODEL, (name, now, now))
    return {}


def _create_version(connection: sqlite3.Connection, body: Json) -> Json | None:
    name, source, run_id, tags = (body[field] for field in ("name", "source", "run_id", "tags"))
    is_known = exists(connection, _HAS_MODEL, name=name)
    if not (is_known and len(body) == 4 and _SOURCE.fullmatch(source) and are_valid_tags(tags)):
        return None
    ((version,),) = connection.execute(_NEXT_VERSION, (name,))
    values = {"name": name, "version": version, "now": now_ms(), "source": source, "run_id": run_id}
    connection.execute(_UPDATE_MODEL, (values["now"], name))
    connection.execute(_CREATE_VERSION, values)
    connection.executemany(_SET_VERSION_TAG, [(name, version, tag["key"], tag["value"]) for tag in tags])
    return {"model_version": {"name": name, "version": str(version), "run_id": run_id, "tags": tags}}


def _set_version_tag(connection: sqlite3.Connection, body: Json) -> Json | None:
    name, version = body["name"], int(body["version"])
    if not (exists(connection, _HAS_VERSION, name=name, version=version) and are_valid_tags([body])):
        return None
    connection.execute(_SET_VERSION_TAG, (name, version, body["key"], body["value"]))
    return {}


def _set_model_tag(connection: sqlite3.Connection, body: Json) -> Json | None:
    if not (exists(connection, _HAS_MODEL, name=body["name"]) and are_valid_tags([body])):
        return None
    connection.execute(_SET_MODEL_TAG, (body["name"], body["key"], body["value"]))
    return {}


def _delete_model_tag(connection: sqlite3.Connection, body: Json) -> Json | None:
    if not exists(connection, _HAS_MODEL, name=body["name"]):
        return None
    connection.execute(_DELETE_MODEL_TAG, (body["name"], body["key"]))
    return {}


def _set_alias(connection: sqlite3.Connection, body: Json) -> Json | None:
    name, alias, version = body["name"], body["alias"], int(body["version"])
    if not (_ALIAS.fullmatch(alias) and exists(connection, _HAS_VERSION, name=name, version=version)):
        return None
    connection.execute(_SET_ALIAS, (name, alias, version))
    return {}


def _delete_alias(connection: sqlite3.Connection, body: Json) -> Json | None:
    name, alias = body["name"], body["alias"]
    if not (_ALIAS.fullmatch(alias) and exists(connection, _HAS_MODEL, name=name)):
        return None
    connection.execute(_DELETE_ALIAS, (name, alias))
    return {}


_HANDLERS: dict[tuple[str, str], Callable[[sqlite3.Connection, Json], Json | None]] = {
    ("POST", "registered-models/create"): _create_model,
    ("POST", "registered-models/set-tag"): _set_model_tag,
    ("DELETE", "registered-models/delete-tag"): _delete_model_tag,
    ("POST", "registered-models/alias"): _set_alias,
    ("DELETE", "registered-models/alias"): _delete_alias,
    ("POST", "model-versions/create"): _create_version,
    ("POST", "model-versions/set-tag"): _set_version_tag,
}
