"""Requests for registered models and for JSON artifacts, answered from the files of a local registry.

MLflow's server takes seconds to start, and a command that only reads needs nothing else of it. The names of
the tables are those of MLflow 3.17. With another schema, or for another request, the server answers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from continuous_training.core.json_object import Json

_SCHEMA = "dc11669786a5"
"""The revision of the tables that MLflow 3.17 creates."""

_ARTIFACTS = "mlflow-artifacts/artifacts/"

_NOT_FOUND = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not in the database"}

_VERSIONS = """
SELECT name, version, run_id FROM model_versions
WHERE current_stage != 'Deleted_Internal' AND workspace = 'default' AND (? = '' OR name = ?)
ORDER BY name, version
"""
_VERSION_TAGS = """
SELECT name, version, key, value FROM model_version_tags WHERE workspace = 'default' AND (? = '' OR name = ?)
"""
_MODEL = "SELECT name FROM registered_models WHERE workspace = 'default' AND name = ?"
_ALIASES = "SELECT alias, version FROM registered_model_aliases WHERE workspace = 'default' AND name = ?"
_RUN = "SELECT artifact_uri FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
_MODEL_TAGS = "SELECT key, value FROM registered_model_tags WHERE workspace = 'default' AND name = ?"

Response = tuple[int, Json]
"""The HTTP status and the body."""


class RegistryDatabase:
    """The database of a local registry in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "mlflow.db"
        self._artifacts = (folder / "artifacts").resolve()

    def answer(self, method: str, url: str) -> Response | None:
        """Return the response to a request, or None if only MLflow's server can answer it.

        The body contains the fields that this project reads.
        """
        address = urlsplit(url)
        path = address.path.removeprefix("/api/2.0/")
        if method != "GET" or not self._database.is_file():
            return None
        if path.startswith(_ARTIFACTS):
            return self._artifact(unquote(path.removeprefix(_ARTIFACTS)))
        query = dict(parse_qsl(address.query))
        location = f"file:{quote(str(self._database.resolve()))}?mode=ro"
        try:
            with closing(sqlite3.connect(location, uri=True)) as connection:
                if connection.execute("SELECT version_num FROM alembic_version").fetchone() != (_SCHEMA,):
                    return None
                return _answer(connection, path.removeprefix("mlflow/"), query)
        except sqlite3.Error:
            return None

    def _artifact(self, path: str) -> Response | None:
        """Return the JSON object in an artifact. MLflow's server answers for anything else."""
        file = (self._artifacts / path).resolve()
        if not file.is_relative_to(self._artifacts):
            return None
        if not file.exists():
            return _NOT_FOUND
        try:
            content = json.loads(file.read_bytes())
        except (ValueError, OSError):
            return None
        return (200, content) if isinstance(content, dict) else None


def _answer(connection: sqlite3.Connection, path: str, query: Mapping[str, str]) -> Response | None:
    name = query.get("name", "")
    if path == "registered-models/get":
        return _registered_model(connection, name)
    if path == "registered-models/alias":
        aliases = dict(connection.execute(_ALIASES, (name,)).fetchall())
        version = str(aliases.get(query["alias"]))
        matches = [entry for entry in _versions(connection, name) if entry["version"] == version]
        return (200, {"model_version": matches[0]}) if matches else _NOT_FOUND
    if path == "runs/get":
        run = connection.execute(_RUN, (query.get("run_id", ""),)).fetchone()
        return (200, {"run": {"info": {"artifact_uri": run[0]}}}) if run else None
    if path == "model-versions/search":
        model = _model_of(query.get("filter", ""))
        return None if model is None else (200, {"model_versions": _versions(connection, model)})
    return None


def _registered_model(connection: sqlite3.Connection, name: str) -> Response:
    if not connection.execute(_MODEL, (name,)).fetchone():
        return _NOT_FOUND
    tags = connection.execute(_MODEL_TAGS, (name,)).fetchall()
    aliases = connection.execute(_ALIASES, (name,)).fetchall()
    model = {
        "name": name,
        "tags": [{"key": key, "value": value} for key, value in tags],
        "aliases": [{"alias": alias, "version": str(version)} for alias, version in aliases],
    }
    return 200, {"registered_model": model}


def _versions(connection: sqlite3.Connection, name: str) -> list[Json]:
    """Return the versions of a model, or of all models for an empty name, the oldest first."""
    tags: dict[tuple[str, int], list[dict[str, str]]] = {}
    for model, version, key, value in connection.execute(_VERSION_TAGS, (name, name)):
        tags.setdefault((model, version), []).append({"key": key, "value": value})
    return [
        {
            "name": model,
            "version": str(version),
            "run_id": run_id or "",
            "tags": tags.get((model, version), []),
        }
        for model, version, run_id in connection.execute(_VERSIONS, (name, name))
    ]


def _model_of(filter_text: str) -> str | None:
    """Return NAME of the filter `name='NAME'`, an empty text for no filter, or None for another filter."""
    if not filter_text:
        return ""
    key, _, value = filter_text.partition("=")
    is_name = key == "name" and len(value) > 2 and value[0] == value[-1] == "'" and "'" not in value[1:-1]
    return value[1:-1] if is_name else None
