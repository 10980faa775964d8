"""A local registry changes registered models without MLflow's server, and stores the same as the server."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from continuous_training.adapters.local_registry import LocalRegistry, open_registry
from continuous_training.adapters.model_registry import CHALLENGER, PREVIOUS, Registry
from continuous_training.adapters.registry_database import RegistryDatabase
from continuous_training.core.json_object import Json

from .database_content import content

API = "http://localhost/api/2.0/mlflow"
TAGS = {"verdict": "promoted", "text": "ä 'quoted'", "archive_key": "archives/a.mar"}


def change(registry: Registry) -> object:
    """Register and promote versions of two models as the steps do. Returns what the registry then reads."""
    for name in ("digits", "iris"):
        run = registry.run(name, "run-1")
        first, second = [registry.register(name, run, {**TAGS, "archive_digest": 64 * key}) for key in "ab"]
        assert registry.register(name, run, {**TAGS, "archive_digest": 64 * "a"}) == first
        registry.move_alias(name, CHALLENGER, first.version, "first", "run-1")
        registry.promote(first, None, "first", "run-1")
        registry.tag(second, "verdict", "rejected")
        registry.tag(second, "verdict", "promoted")
        registry.move_alias(name, CHALLENGER, second.version, "second", "run-1")
        registry.promote(second, first.version, "better", "run-1", user="ann")
        # This move was recorded, but the alias did not move: the next move replaces the record.
        registry.send("DELETE", "mlflow/registered-models/alias", json={"name": name, "alias": PREVIOUS})
        registry.move_alias(name, PREVIOUS, first.version, "better", "run-2")
    return (
        registry.versions(),
        [registry.aliases(name) for name in ("digits", "iris")],
        [[(move.alias, move.to_version, move.run) for move in registry.alias_history("iris")]],
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a registry that MLflow's server changed, and a copy of its state before the changes."""
    folder = tmp_path_factory.mktemp("registry")
    with closing(LocalRegistry(folder / "server")) as local, pytest.MonkeyPatch.context() as patch:
        local.start()
        registry = Registry(local.uri)
        assert registry.champion("digits") is None
        shutil.copytree(local.folder, folder / "before")
        patch.setattr(RegistryDatabase, "answer", lambda *_: None)
        change(registry)
    return folder / "server", folder / "before"


@pytest.fixture
def copy(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty registry whose server must not start."""
    monkeypatch.delattr(LocalRegistry, "start")
    return Path(shutil.copytree(folders[1], tmp_path / "registry"))


def test_changes_are_stored_as_by_the_server(folders: tuple[Path, Path], copy: Path) -> None:
    with open_registry(f"sqlite:///{copy}/mlflow.db") as registry:
        change(registry)
    assert content(copy) == content(folders[0])
    assert sum(line.startswith('INSERT INTO "model_versions" ') for line in content(copy)) == 4


VERSION: Json = {
    "name": "digits",
    "source": "mlflow-artifacts:/1/a/artifacts/model",
    "run_id": "a",
    "tags": [],
}
REQUESTS: dict[str, tuple[str, str, Json]] = {
    "another request": ("DELETE", "model-versions/delete", {"name": "digits", "version": "1"}),
    "an invalid name": ("POST", "registered-models/create", {"name": "a/b"}),
    "a description": ("POST", "registered-models/create", {"name": "a", "description": "b"}),
    "a version of an unknown model": ("POST", "model-versions/create", {**VERSION, "name": "unknown"}),
    "another source": ("POST", "model-versions/create", {**VERSION, "source": "models:/digits/1"}),
    "a field more": ("POST", "model-versions/create", {**VERSION, "description": "a"}),
    "a reserved tag": (
        "POST",
        "model-versions/create",
        {**VERSION, "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]},
    ),
    "a tag of an unknown version": (
        "POST",
        "model-versions/set-tag",
        {"name": "digits", "version": "7", "key": "a", "value": "b"},
    ),
    "a tag of an unknown model": (
        "POST",
        "registered-models/set-tag",
        {"name": "unknown", "key": "a", "value": "b"},
    ),
    "the tags of an unknown model": (
        "DELETE",
        "registered-models/delete-tag",
        {"name": "unknown", "key": "a"},
    ),
    "an alias of an unknown version": (
        "POST",
        "registered-models/alias",
        {"name": "digits", "alias": "champion", "version": "7"},
    ),
    "a reserved alias": (
        "POST",
        "registered-models/alias",
        {"name": "digits", "alias": "latest", "version": "1"},
    ),
    "a version that is no number": (
        "POST",
        "registered-models/alias",
        {"name": "digits", "alias": "champion", "version": "a"},
    ),
    "the alias of an unknown model": (
        "DELETE",
        "registered-models/alias",
        {"name": "unknown", "alias": "champion"},
    ),
    "a missing field": ("POST", "registered-models/set-tag", {"name": "digits", "key": "a"}),
    "an experiment that exists": ("POST", "experiments/create", {"name": "digits"}),
    "an experiment with a location": ("POST", "experiments/create", {"name": "a", "artifact_location": "b"}),
}


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS.values(), ids=REQUESTS)
def test_other_requests_are_left_to_the_server(
    folders: tuple[Path, Path], tmp_path: Path, method: str, path: str, body: Json
) -> None:
    folder = Path(shutil.copytree(folders[0], tmp_path / "registry"))
    before, database = content(folder), RegistryDatabase(folder)
    assert database.answer(method, f"{API}/{path}", json.dumps(body).encode()) is None
    assert content(folder) == before
    assert not database.is_changed


def test_a_registry_with_webhooks_is_left_to_the_server(copy: Path) -> None:
    body, database = json.dumps({"name": "digits"}).encode(), RegistryDatabase(copy)
    with closing(sqlite3.connect(copy / "mlflow.db")) as connection, connection:
        connection.execute(
            "INSERT INTO webhooks (webhook_id, name, url) VALUES ('1', 'a', 'https://example.com')"
        )
    assert database.answer("POST", f"{API}/registered-models/create", body) is None
    with closing(sqlite3.connect(copy / "mlflow.db")) as connection, connection:
        connection.execute("DELETE FROM webhooks")
    assert database.answer("POST", f"{API}/registered-models/create", body) == (200, {})
