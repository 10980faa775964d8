"""Fixtures of the registry on both of its storage backends."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.model_registry import Registry
from tests import postgres, s3
from tests.mlflow_server import MlflowServer
from tests.registry import run_registry
from tests.s3 import Bucket

BACKENDS = ("SQLite and a folder", "PostgreSQL and S3")


@pytest.fixture(scope="session")
def mlflow_database(postgres_server: postgres.Server) -> str:
    """The SQLAlchemy URI of a database on a running PostgreSQL server.

    The URI names the driver, because SQLAlchemy's default driver depends on its version.
    """
    for module in ("psycopg2", "boto3"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -e '.[registry-server]'")
    user = f"{postgres.USER}:{postgres.PASSWORD}"
    return f"postgresql+psycopg2://{user}@127.0.0.1:{postgres_server.port}/postgres"


@pytest.fixture(scope="session")
def server(
    mlflow_database: str, s3_server: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    """A running MLflow server that stores its data in PostgreSQL and S3."""
    from minio import Minio

    folder, endpoint = s3_server
    Minio(endpoint, *s3.ACCESS, secure=False).make_bucket("mlflow")
    log = tmp_path_factory.mktemp("mlflow") / "server.log"
    mlflow = MlflowServer(mlflow_database, Bucket(folder / "mlflow", endpoint), log)
    mlflow.start()
    yield mlflow
    mlflow.kill()


@pytest.fixture(scope="session", params=BACKENDS)
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A client of a real MLflow server, once for each backend."""
    if request.param == BACKENDS[1]:
        yield Registry(request.getfixturevalue("server").uri)
        return
    with run_registry(tmp_path_factory.mktemp("registry")) as client:
        yield client
