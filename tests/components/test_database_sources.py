"""prep-data reads a PostgreSQL table through PgBouncer, from several hosts, and with capitals in names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from continuous_training.artifacts.dataset import Dataset
from tests import pgbouncer
from tests.fakes import free_port
from tests.postgres import Server
from workloads.iris.seed import seed

from .test_bad_rows import prepare


def test_the_rows_are_the_same_for_each_form_of_the_address(
    database: tuple[str, Any], postgres_server: Server, tmp_path: Path
) -> None:
    if pgbouncer.program() is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    url, connection = database
    seed(url)
    connection.execute('CREATE TABLE "Iris_Data" AS SELECT * FROM iris_data')
    connection.execute('ALTER TABLE "Iris_Data" RENAME COLUMN species TO "Species"')
    host = f"127.0.0.1:{postgres_server.port}"
    with pgbouncer.serve(postgres_server) as port:
        sources = [
            (url, "table=iris_data"),
            (url, "table=Iris_Data"),
            (url.replace(host, f"127.0.0.1:{port}"), "table=iris_data"),
            (url.replace(host, f"127.0.0.1:{free_port()},{host}"), "table=IRIS_DATA"),
        ]
        fingerprints = set()
        for source, table in sources:
            assert prepare("iris", source, tmp_path / "data", table) == 0
            fingerprints.add(Dataset.open(tmp_path / "data").manifest.fingerprint)
        assert len(fingerprints) == 1
