"""The database of a local registry gives the same answers as MLflow's server."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from continuous_training.adapters.local_registry import LocalRegistry, open_registry
from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.registry_database import RegistryDatabase

READS: dict[str, Callable[[Registry], object]] = {
    "champion": lambda registry: registry.champion("digits"),
    "a model without the alias": lambda registry: registry.champion("iris"),
    "an unknown model": lambda registry: registry.champion("unknown"),
    "aliases": lambda registry: registry.aliases("digits"),
    "aliases of an unknown model": lambda registry: registry.aliases("unknown"),
    "alias history": lambda registry: registry.alias_history("digits"),
    "tag of the model": lambda registry: registry.retired_champion("digits"),
    "versions": lambda registry: registry.versions("digits"),
    "versions of all models": lambda registry: registry.versions(),
    "a missing artifact": lambda registry: registry.read_json(registry.versions("digits")[0].run_id, "none"),
    "an artifact": lambda registry: registry.read_json(registry.versions("digits")[0].run_id, "data/c.json"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Path]]:
    """Yield a registry with three versions, one of them deleted, and its folder."""
    local = LocalRegistry(tmp_path_factory.mktemp("registry"))
    local.start()
    registry = Registry(local.uri)
    run = registry.run("digits", "run-1")
    first, second, deleted = [
        registry.register("digits", run, {"archive_digest": digest * 64, "text": "ä 'quoted'"})
        for digest in "abc"
    ]
    registry.log_file(run, "data/c.json", b'{"name": "\xc3\xa4"}')
    registry.register("iris", run, {"archive_digest": "d" * 64})
    registry.move_alias("digits", PREVIOUS, first.version, "first", "run-1")
    registry.move_alias("digits", CHAMPION, second.version, "better", "run-2")
    registry.post("registered-models/set-tag", {"name": "digits", "key": "retired_champion", "value": "1"})
    registry.send(
        "DELETE", "mlflow/model-versions/delete", json={"name": "digits", "version": deleted.version}
    )
    yield registry, local.folder
    local.close()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_are_equal_to_those_of_the_server(
    server: tuple[Registry, Path],
    read: Callable[[Registry], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, folder = server
    expected = read(registry)
    monkeypatch.delattr(LocalRegistry, "start")
    with open_registry(f"sqlite:///{folder / 'mlflow.db'}") as reader:
        assert read(reader) == expected


def test_other_requests_are_left_to_the_server(server: tuple[Registry, Path]) -> None:
    _, folder = server
    database, root = RegistryDatabase(folder), "http://localhost/api/2.0/mlflow"
    assert database.answer("GET", f"{root}/registered-models/get?name=digits") is not None
    assert database.answer("POST", f"{root}/registered-models/get?name=digits") is None
    assert database.answer("GET", f"{root}/runs/get?run_id=1") is None
    assert database.answer("GET", f"{root}-artifacts/artifacts/../mlflow.db") is None
    assert database.answer("GET", f"{root}/model-versions/search?filter=run_id%3D%27a%27") is None


def test_a_database_with_another_schema_is_left_to_the_server(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('another')")
        connection.commit()
    url = "http://localhost/api/2.0/mlflow/registered-models/get?name=digits"
    assert RegistryDatabase(tmp_path).answer("GET", url) is None
