"""Requests for registered models, runs and artifacts, answered with the files of a local registry.

MLflow's server takes seconds to start. The tables have the names and columns of MLflow 3.17. With another
schema, after an error, or for another request, the server answers.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from continuous_training.adapters import model_database, tracking_database
from continuous_training.core.files import replace_durably
from continuous_training.core.json_object import Json
from continuous_training.core.temporary_files import temporary_file

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
_EXPERIMENT = "SELECT experiment_id FROM experiments WHERE workspace = 'default' AND name = ?"
_MODEL_TAGS = "SELECT key, value FROM registered_model_tags WHERE workspace = 'default' AND name = ?"

_FILTER = re.compile(r"(name='(?P<name>[^']+)'( and tags.archive_digest='(?P<digest>[^']+)')?)?")

Response = tuple[int, Json]
"""The HTTP status and the body."""


_LOCK_SECONDS = 20.0
"""How long a write waits for that of another process, as MLflow's server does."""


class RegistryDatabase:
    """The database and the artifacts of a local registry in `folder`.

    `is_changed` states whether a request has changed the database.
    """

    def __init__(self, folder: Path) -> None:
        self._database = folder / "mlflow.db"
        self._artifacts = (folder / "artifacts").resolve()
        self.is_changed = False

    def answer(self, method: str, url: str, body: bytes = b"") -> Response | None:
        """Return the response to a request, or None if only MLflow's server can answer it.

        The body of the response contains the fields that this project reads.
        """
        address = urlsplit(url)
        path = address.path.removeprefix("/api/2.0/")
        if not self._database.is_file():
            return None
        if path.startswith(_ARTIFACTS):
            return self._artifact(method, unquote(path.removeprefix(_ARTIFACTS)), body)
        path = path.removeprefix("mlflow/")
        if method == "GET":
            return self._read(path, dict(parse_qsl(address.query)))
        if model_database.changes(method, path):
            return self._write(
                lambda connection: model_database.change(connection, method, path, json.loads(body))
            )
        if method == "POST" and tracking_database.records(path):
            return self._write(
                lambda connection: tracking_database.record(connection, path, json.loads(body))
            )
        return None

    def _artifact(self, method: str, path: str, body: bytes) -> Response | None:
        """Return the JSON object in an artifact, or write an artifact. MLflow's server does anything else."""
        file = (self._artifacts / path).resolve()
        if not file.is_relative_to(self._artifacts) or method not in ("GET", "PUT"):
            return None
        try:
            if method == "PUT":
                file.parent.mkdir(parents=True, exist_ok=True)
                with temporary_file(file) as temporary:
                    temporary.write_bytes(body)
                    replace_durably(temporary, file)
                return 200, {}
            if not file.exists():
                return _NOT_FOUND
            content = json.loads(file.read_bytes())
        except (ValueError, OSError):
            return None
        return (200, content) if isinstance(content, dict) else None

    def _read(self, path: str, query: Mapping[str, str]) -> Response | None:
        try:
            with self._connect("ro") as connection:
                return _answer(connection, path, query) if _is_known(connection) else None
        except sqlite3.Error:
            return None

    def _write(self, change: Callable[[sqlite3.Connection], Json | None]) -> Response | None:
        """Answer a request in one transaction. `change` returns the body of the response, or None."""
        try:
            with self._connect("rw") as connection:
                connection.execute("BEGIN IMMEDIATE")
                if not _is_known(connection):
                    return None
                answer = change(connection)
                if answer is None:
                    return None
                if "error_code" in answer:
                    return 400, answer
                connection.execute("COMMIT")
        except (sqlite3.Error, ValueError, LookupError):
            return None
        self.is_changed = True
        return 200, answer

    @contextmanager
    def _connect(self, mode: str) -> Iterator[sqlite3.Connection]:
        """Yield a connection. A transaction without a commit is rolled back."""
        location = f"file:{quote(str(self._database.resolve()))}?mode={mode}"
        connection = sqlite3.connect(location, _LOCK_SECONDS, isolation_level=None, uri=True)
        with closing(connection):
            yield connection


def _is_known(connection: sqlite3.Connection) -> bool:
    """Return whether the tables have the schema of MLflow 3.17."""
    return bool(connection.execute("SELECT version_num FROM alembic_version").fetchone() == (_SCHEMA,))


def _answer(connection: sqlite3.Connection, path: str, query: Mapping[str, str]) -> Response | None:
    name = query.get("name", "")
    if path == "registered-models/get":
        return _registered_model(connection, name)
    if path == "registered-models/alias":
        aliases = dict(connection.execute(_ALIASES, (name,)).fetchall())
        version = str(aliases.get(query["alias"]))
        matches = [entry for entry in _versions(connection, name) if entry["version"] == version]
        return (200, {"model_version": matches[0]}) if matches else _NOT_FOUND
    if path == "experiments/get-by-name":
        experiment = connection.execute(_EXPERIMENT, (query.get("experiment_name", ""),)).fetchone()
        return (200, {"experiment": {"experiment_id": str(experiment[0])}}) if experiment else _NOT_FOUND
    if path == "runs/get":
        run = connection.execute(_RUN, (query.get("run_id", ""),)).fetchone()
        return (200, {"run": {"info": {"artifact_uri": run[0]}}}) if run else None
    if path == "model-versions/search":
        return _search(connection, query.get("filter", ""))
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


def _search(connection: sqlite3.Connection, filter_text: str) -> Response | None:
    """Answer a search for all versions, for the versions of a model, or for the versions of an archive."""
    match = _FILTER.fullmatch(filter_text)
    if match is None:
        return None
    versions = _versions(connection, match["name"] or "")
    if digest := match["digest"]:
        tag = {"key": "archive_digest", "value": digest}
        versions = [version for version in versions if tag in version["tags"]]
    return 200, {"model_versions": versions}
