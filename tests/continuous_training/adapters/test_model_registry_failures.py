"""Failures of a registry in a cluster: stopped, slow, rejected by its bucket, or without disk space."""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters import mlflow_rest as module
from continuous_training.adapters.model_registry import CHAMPION, Registry
from continuous_training.adapters.object_store import FolderStore, S3Store
from continuous_training.core.errors import DiskFullError, TransientError, UserError
from tests import s3
from tests.fakes import web
from tests.mlflow_server import MlflowServer
from tests.s3 import Bucket

from .test_model_registry import add


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between attempts."""
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


@pytest.mark.usefixtures("quick")
def test_a_restarted_server_has_all_data(server: MlflowServer, name: str) -> None:
    registry = Registry(server.uri)
    first, second = add(registry, name, "d1"), add(registry, name, "d2")
    registry.promote(first, None, "why", "run-1")
    registry.log_file(registry.run(name, "run-1"), "a.json", b"{}")
    server.kill()
    try:
        with pytest.raises(TransientError, match=r"cannot be reached .* check that it is running"):
            registry.promote(second, "1", "why", "run-2")
    finally:
        server.start()
    assert registry.champion(name) == first
    registry.promote(second, "1", "why", "run-2")
    assert registry.champion(name) == second
    assert registry.read_json(registry.run(name, "run-1"), "a.json") == {}


def test_requests_are_retried_until_the_server_has_started(
    server: MlflowServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(server.uri)
    version = add(registry, name, "d1")
    registry.promote(version, None, "why", "run-1")
    server.kill()
    waits: list[float] = []

    def start_at_second_wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            server.start()

    # Replace the name in this module only: the start of the server uses the real time module.
    monkeypatch.setattr(module, "time", type("Time", (), {"sleep": staticmethod(start_at_second_wait)}))
    assert registry.champion(name) == version
    assert waits == [0.5, 1.0]


@pytest.mark.usefixtures("quick")
def test_a_read_timeout_raises_a_transient_error_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", (0.2, 0.05))
    released = threading.Event()

    def slow(*_: str) -> tuple[int, Any]:
        released.wait(30)
        return 200, {}

    with web(slow) as server:
        with pytest.raises(TransientError, match=r"cannot be reached \(ReadTimeout"):
            Registry(server.url).move_alias("any", CHAMPION, "1", "why", "run")
        assert {path for method, path, _ in server.requests if method != "GET"} == set()
        released.set()


@pytest.mark.usefixtures("quick")
def test_a_run_is_created_once_when_the_response_is_lost(server: MlflowServer, name: str) -> None:
    """The server processes the request, but its response is lost: the client sends the request again."""
    real, lost = Registry(server.uri), []

    def forward(method: str, path: str) -> tuple[int, Any]:
        body = proxy.requests[-1][2]
        headers = {"content-type": "application/json"}
        answer = real.session.request(method, real.uri + path, data=body, headers=headers, timeout=30)
        if path.endswith(("runs/create", "model-versions/create")) and path not in lost:
            lost.append(path)
            return 504, {"message": "gateway timeout"}
        return answer.status_code, answer.content

    with web(forward) as proxy:
        registry = Registry(proxy.url)
        run = registry.run(name, "run-1")
        version = registry.register(name, run, {"archive_digest": "d1", "archive_key": "key"})
    assert len(lost) == 2
    assert real.run(name, "run-1") == run
    assert real._runs(real._experiment(name), "run-1") == [run]
    assert real.versions(name) == [version]
    assert version.version == "1"


@pytest.mark.usefixtures("quick")
def test_a_bucket_that_rejects_the_servers_key_raises_a_transient_error(
    mlflow_database: str, s3_server: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    folder, endpoint = s3_server
    bucket = Bucket(folder / "mlflow", endpoint)
    server = MlflowServer(mlflow_database, bucket, tmp_path / "log", (s3.ACCESS[0], "a wrong secret"))
    server.start()
    try:
        registry = Registry(server.uri)
        run = registry.run(name, "run-1")
        # The server answers 500, or closes the connection before it has read the file.
        with pytest.raises(
            TransientError, match=f"registry {server.uri} .*, 4 times; check that it is running"
        ):
            registry.log_file(run, "a.txt", b"a")
        assert registry.versions(name) == []
        assert "SignatureDoesNotMatch" in server.log.read_text()
    finally:
        server.kill()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Limit the files of this process to 10 kB, which simulates a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_raises_a_disk_full_error_and_leaves_no_partial_file(
    tmp_path: Path, full_disk: None
) -> None:
    store, big = FolderStore(tmp_path / "store"), b"x" * 100_000
    store.write("records/small", b"{}")
    (tmp_path / "big").symlink_to(sys.executable)
    for put in (lambda: store.put_if_absent("a/big", tmp_path / "big"), lambda: store.write("a/big", big)):
        with pytest.raises(DiskFullError, match=f"not stored: object store {tmp_path}/store: no space"):
            put()
    assert store.keys("") == ["records/small"]
    assert [p.name for p in (tmp_path / "store").rglob(".*")] == []


def test_a_folder_without_write_permission_raises_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("continuous_training.core.temporary_files.os.open", refuse)
    with pytest.raises(UserError, match="check its owner and mode"):
        FolderStore(tmp_path).write("a", b"")


def test_a_full_disk_of_the_s3_server_raises_a_transient_error_and_leaves_no_object(
    s3_server: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    program = Path(sys.executable).parent / "rclone"
    (tmp_path / "full" / name).mkdir(parents=True)
    with s3.serve(program, tmp_path / "full", tmp_path / "log", file_limit=10_000) as endpoint:
        store = S3Store(f"s3://{name}?endpoint={endpoint}&secure=false", s3.ACCESS)
        store.write("small", b"{}")
        (tmp_path / "big").write_bytes(b"x" * 100_000)
        with pytest.raises(TransientError, match=f"object store s3://{name}"):
            store.put_if_absent("a/big", tmp_path / "big")
        assert store.keys("") == ["small"]
