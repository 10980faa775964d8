"""PostgreSQL through PgBouncer, with libpq's forms of addresses, row-level security, and capitals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters import postgres
from continuous_training.adapters.postgres import select
from continuous_training.core.errors import PipelineError, TransientError, UserError
from tests import pgbouncer
from tests.fakes import free_port
from tests.postgres import Server
from workloads.iris.seed import seed

psycopg = pytest.importorskip("psycopg")
Database = tuple[str, Any]


def ids(source: str, table: str = "numbers", column: str = "id", **options: Any) -> list[int]:
    blocks = select(source, table, {column: "bigint"}, [(column, False)], **options)
    return [row[0] for block in blocks for row in block]


@pytest.fixture
def url(database: Database) -> str:
    """The address of a database with a table of 2,500 numbers."""
    address, connection = database
    connection.execute("CREATE TABLE numbers AS SELECT g AS id FROM generate_series(1, 2500) g")
    return address


@pytest.fixture(params=["", "transaction"], ids=["default", "transaction"])
def pool(request: pytest.FixtureRequest, postgres_server: Server, url: str) -> Iterator[str]:
    """The address of the database through PgBouncer."""
    if pgbouncer.program() is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    with pgbouncer.serve(postgres_server, request.param) as port:
        yield url.replace(str(postgres_server.port), str(port))


def test_rows_are_read_through_a_pool(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "BLOCK_ROWS", 1000)
    for _ in range(7):
        assert ids(pool) == list(range(1, 2501))


def test_a_pool_keeps_the_timeout_of_the_statements(pool: str, url: str) -> None:
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TransientError, match=r"no response within 0\.2 s"):
            ids(pool, seconds=0.2)
    # The setting does not remain on the connection that the pool gives to the next client.
    with psycopg.connect(pool, prepare_threshold=None) as next_client:
        assert next_client.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert next_client.execute("SHOW row_security").fetchone() == ("on",)


def test_a_table_is_filled_through_a_pool(pool: str) -> None:
    assert seed(pool) == (150, 150)
    assert seed(pool, more=20) == (20, 170)
    assert len(ids(pool, "iris_data")) == 170


def test_the_first_host_that_answers_is_used(url: str, postgres_server: Server) -> None:
    database, port = url.rpartition("/")[2], postgres_server.port
    unused = free_port()
    for hosts in (f"127.0.0.1:{unused},127.0.0.1:{port}", f"127.0.0.1:{port},127.0.0.1:{unused}"):
        for attributes in ("any", "read-write", "primary", "prefer-standby"):
            source = f"postgresql://{hosts}/{database}?target_session_attrs={attributes}"
            assert len(ids(source)) == 2500
    with pytest.raises(PipelineError, match="not in hot standby"):
        ids(f"postgresql://127.0.0.1:{unused},127.0.0.1:{port}/{database}?target_session_attrs=standby")
    with pytest.raises(TransientError, match="refused"):
        ids(f"postgresql://127.0.0.1:{unused},127.0.0.1:{free_port()}/{database}")
    with pytest.raises(PipelineError, match=r"postgresql://nowhere\.invalid,127\.0\.0\.1:\d+/"):
        ids(f"postgresql://nowhere.invalid,127.0.0.1:{unused}/{database}")
    assert len(ids(f"postgresql://nowhere.invalid:{port},127.0.0.1:{port}/{database}")) == 2500


def test_a_service_file_and_a_unix_socket_are_used(
    url: str, postgres_server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, port = url.rpartition("/")[2], postgres_server.port
    services = folder / "services.conf"
    services.write_text(f"[data]\nhost=127.0.0.1\nport={port}\ndbname={database}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert len(ids("postgresql:///?service=data")) == 2500
    with pytest.raises(UserError, match='definition of service "other" not found'):
        ids("postgresql:///?service=other")
    assert len(ids(f"postgresql:///{database}?host={postgres_server.folder}&port={port}")) == 2500
    monkeypatch.setenv("PGPORT", str(port))
    assert len(ids(f"postgresql://127.0.0.1/{database}")) == 2500
    monkeypatch.setenv("PGDATABASE", database)
    assert len(ids("postgresql://127.0.0.1")) == 2500


def test_a_table_whose_rows_are_hidden_from_the_user_is_rejected(
    url: str, database: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = database[1]
    connection.execute("ALTER TABLE numbers ENABLE ROW LEVEL SECURITY")
    connection.execute("CREATE POLICY half ON numbers USING (id <= 1250)")
    connection.execute(f"CREATE ROLE {name}_reader LOGIN PASSWORD 'x'")
    connection.execute(f"GRANT SELECT ON numbers TO {name}_reader")
    assert len(ids(url)) == 2500
    monkeypatch.setenv("PGUSER", f"{name}_reader")
    monkeypatch.setenv("PGPASSWORD", "x")
    with pytest.raises(UserError, match=r"Row-level security would hide rows .*use a role with BYPASSRLS"):
        ids(url)


def test_names_with_capitals_are_found(url: str, database: Database) -> None:
    connection = database[1]
    connection.execute('CREATE SCHEMA "Garden"')
    connection.execute('CREATE TABLE "Garden"."Numbers" ("Id" int)')
    connection.execute('INSERT INTO "Garden"."Numbers" VALUES (7)')
    connection.execute('CREATE TABLE "Twice" (id int, "ID" int)')
    connection.execute('INSERT INTO "Twice" VALUES (1, 2)')
    assert ids(url, "Garden.Numbers") == [7]
    assert ids(url, "Garden.Numbers", "ID") == [7]
    assert (ids(url, "Twice"), ids(url, "Twice", "ID")) == ([1], [2])
    # PostgreSQL reads NUMBERS without quotes as numbers.
    assert len(ids(url, "NUMBERS")) == len(ids(url, "Public.NUMBERS")) == 2500
    with pytest.raises(UserError, match="the table Twice has several columns for Id: id, ID"):
        ids(url, "Twice", "Id")
    with pytest.raises(UserError, match='relation "Other" does not exist'):
        ids(url, "Other")
