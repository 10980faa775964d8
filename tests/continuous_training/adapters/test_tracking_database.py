"""A local registry records a run without MLflow's server, and stores the same as the server."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from continuous_training.adapters.local_registry import LocalRegistry, open_registry
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.registry_database import RegistryDatabase
from continuous_training.core.json_object import Json

from .database_content import content

PARAMETERS = {"test_size": 0.2, "source": "", "text": "ä 'quoted'", "long": "x" * 7000}
METRICS = {"r2": 0.5, "r2_low": -1e-300, "mse": 12, "slice a: b": 3.25}
TAGS = {"verdict": "rejected", "reasons": "é" * 6000, "pipeline_run": "run-2"}
API = "http://localhost/api/2.0/mlflow"


def record(registry: Registry, name: str) -> str:
    """Record a run as evaluate does, and return its id."""
    run = registry.run("digits", name)
    assert registry.run("digits", name) == run
    registry.log(run, PARAMETERS, METRICS, TAGS)
    registry.log_dataset(run, "digits", "f" * 64, "digits.csv", '{"train": {"rows": 3}}')
    registry.log_file(run, "report ä.html", "<p>ä</p>".encode())
    registry.end(run)
    return run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a registry in which MLflow's server recorded a run, and a copy of its state before that run."""
    folder = tmp_path_factory.mktemp("registry")
    before = folder / "before"
    with closing(LocalRegistry(folder / "server")) as local:
        local.start()
        registry = Registry(local.uri)
        registry.run("digits", "run-1")
        shutil.copytree(local.folder, before)
        record(registry, "run-2")
    return folder / "server", before


@pytest.fixture
def copy(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a registry that contains the empty run `run-1`, and whose server must not start."""
    monkeypatch.delattr(LocalRegistry, "start")
    return Path(shutil.copytree(folders[1], tmp_path / "registry"))


def count(folder: Path, table: str) -> int:
    """Return the number of rows of a table."""
    return sum(line.startswith(f'INSERT INTO "{table}" ') for line in content(folder))


def files(folder: Path) -> set[tuple[str, bytes]]:
    """Return the names and contents of the stored artifacts."""
    return {(path.name, path.read_bytes()) for path in (folder / "artifacts").rglob("*") if path.is_file()}


def test_a_run_is_stored_as_by_the_server(folders: tuple[Path, Path], copy: Path) -> None:
    with open_registry(f"sqlite:///{copy}/mlflow.db") as registry:
        run = record(registry, "run-2")
    assert content(copy) == content(folders[0])
    assert count(copy, "runs") == 2
    assert count(copy, "metrics") == count(copy, "latest_metrics") == len(METRICS)
    assert files(copy) == files(folders[0]) == {("report ä.html", "<p>ä</p>".encode())}
    assert (copy / "artifacts/1" / run / "artifacts/report ä.html").is_file()


def test_a_second_run_on_the_same_data_shares_the_dataset(copy: Path) -> None:
    with open_registry(f"sqlite:///{copy}/mlflow.db") as registry:
        runs = {record(registry, name) for name in ("run-2", "run-3")}
    assert len(runs) == 2
    assert [count(copy, table) for table in ("datasets", "inputs", "input_tags")] == [1, 2, 2]


def test_the_copy_of_the_database_contains_the_run(copy: Path) -> None:
    with open_registry(f"sqlite:///{copy}/mlflow.db") as registry:
        record(registry, "run-2")
    (copy / "mlflow.db").write_bytes((copy / "mlflow.db.backup").read_bytes())
    assert count(copy, "runs") == 2


RUN = "RUN"
BATCH: Json = {"run_id": RUN, "params": [], "metrics": [], "tags": []}
METRIC: Json = {"key": "r2", "value": 0.5, "timestamp": 1, "step": 0}
REQUESTS: dict[str, tuple[str, Json]] = {
    "another request": ("runs/delete", {"run_id": RUN}),
    "an unknown run": ("runs/log-batch", {**BATCH, "run_id": "0" * 32}),
    "a reserved name": ("runs/log-batch", {**BATCH, "tags": [{"key": "mlflow.user", "value": "a"}]}),
    "an invalid name": ("runs/log-batch", {**BATCH, "params": [{"key": "a/../b", "value": "a"}]}),
    "a long value": ("runs/log-batch", {**BATCH, "params": [{"key": "a", "value": "a" * 6001}]}),
    "a name twice": ("runs/log-batch", {**BATCH, "metrics": [METRIC, {**METRIC, "value": 1}]}),
    "a metric that is NaN": ("runs/log-batch", {**BATCH, "metrics": [{**METRIC, "value": float("nan")}]}),
    "too many values": (
        "runs/log-batch",
        {**BATCH, "metrics": [{**METRIC, "key": f"m{number}"} for number in range(1001)]},
    ),
    "a missing field": ("runs/log-batch", {"run_id": RUN, "metrics": [METRIC]}),
    "an unknown experiment": (
        "runs/create",
        {"experiment_id": "7", "run_name": "a", "start_time": 1, "tags": []},
    ),
    "another filter": (
        "runs/search",
        {"experiment_ids": ["1"], "filter": "metrics.r2 > 0", "order_by": [], "max_results": 1},
    ),
    "two datasets": ("runs/log-inputs", {"run_id": RUN, "datasets": [{}, {}]}),
    "another status": ("runs/update", {"run_id": RUN, "status": "KILLED", "end_time": 1}),
}


@pytest.mark.parametrize(("path", "body"), REQUESTS.values(), ids=REQUESTS)
def test_other_requests_are_left_to_the_server(copy: Path, path: str, body: Json) -> None:
    before, database = content(copy), RegistryDatabase(copy)
    with open_registry(f"sqlite:///{copy}/mlflow.db") as registry:
        run = registry.run("digits", "run-1")
    text = json.dumps(body).replace(RUN, run).encode()
    assert database.answer("POST", f"{API}/{path}", text) is None
    assert content(copy) == before
    assert not database.is_changed


@pytest.mark.parametrize(
    ("statement", "path", "body"),
    [
        ("UPDATE runs SET lifecycle_stage = 'deleted'", "runs/log-batch", BATCH),
        (
            "UPDATE experiments SET lifecycle_stage = 'deleted'",
            "runs/create",
            {"experiment_id": "1", "run_name": "a", "start_time": 1, "tags": []},
        ),
        ("UPDATE alembic_version SET version_num = 'newer'", "runs/log-batch", BATCH),
    ],
    ids=["deleted run", "deleted experiment", "other tables"],
)
def test_other_states_are_left_to_the_server(copy: Path, statement: str, path: str, body: Json) -> None:
    with closing(sqlite3.connect(copy / "mlflow.db")) as connection:
        ((run,),) = connection.execute("SELECT run_uuid FROM runs").fetchall()
    text, database = json.dumps(body).replace(RUN, run).encode(), RegistryDatabase(copy)
    assert database.answer("POST", f"{API}/{path}", text) is not None
    with closing(sqlite3.connect(copy / "mlflow.db")) as connection, connection:
        connection.execute(statement)
    assert database.answer("POST", f"{API}/{path}", text) is None


def test_a_run_that_has_values_is_left_to_the_server(copy: Path) -> None:
    with open_registry(f"sqlite:///{copy}/mlflow.db") as registry:
        run = record(registry, "run-2")
    before, database = content(copy), RegistryDatabase(copy)
    batch = {**BATCH, "run_id": run, "metrics": [METRIC]}
    assert database.answer("POST", f"{API}/runs/log-batch", json.dumps(batch).encode()) is None
    assert content(copy) == before


@pytest.fixture
def locked(copy: Path) -> Iterator[Path]:
    """Yield a registry whose database another program writes."""
    with closing(sqlite3.connect(copy / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield copy


def test_a_locked_database_is_left_to_the_server(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("continuous_training.adapters.registry_database._LOCK_SECONDS", 0.05)
    body = json.dumps({"run_id": "0" * 32, "status": "FINISHED", "end_time": 1}).encode()
    assert RegistryDatabase(locked).answer("POST", f"{API}/runs/update", body) is None


def test_an_artifact_outside_the_folder_is_left_to_the_server(copy: Path) -> None:
    address = f"{API}-artifacts/artifacts/1/../../../other"
    assert RegistryDatabase(copy).answer("PUT", address, b"a") is None
    assert not (copy.parent / "other").exists()
