"""Read rows from a real PostgreSQL server, and handle each kind of error."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters import postgres
from continuous_training.adapters.postgres import connect, select
from continuous_training.core.errors import TransientError, UserError
from tests.fakes import free_port
from tests.postgres import PASSWORD, USER, Server

psycopg = pytest.importorskip("psycopg")
Database = tuple[str, Any]

TYPES = {"id": "bigint", "size": "double precision", "name": "text"}


@pytest.fixture
def url(database: Database) -> str:
    """The address of a database with a table of five rows."""
    address, connection = database
    connection.execute(
        "CREATE TABLE things (id int PRIMARY KEY, size numeric, name varchar(9), content bytea)"
    )
    connection.execute(
        "INSERT INTO things VALUES (3, 1.5, 'c'), (1, 2.5, 'a'), (2, 1.5, 'b'), (5, NULL, 'e'), (4, 0, 'd')"
    )
    return address


def ids(url: str, *order: tuple[str, bool], **options: Any) -> list[int]:
    return [row[0] for block in select(url, "things", TYPES, order, **options) for row in block]


def test_rows_have_the_requested_types_and_order(url: str) -> None:
    (block,) = select(url, "things", TYPES, [("id", False)])
    assert block == [(1, 2.5, "a"), (2, 1.5, "b"), (3, 1.5, "c"), (4, 0.0, "d"), (5, None, "e")]
    assert ids(url, ("id", True)) == [5, 4, 3, 2, 1]
    assert ids(url, ("size", False), ("id", True), limit=3) == [4, 3, 2]
    assert ids(url.replace("/things", ""), ("id", False), limit=2) == [1, 2]


def test_a_table_name_may_include_a_schema(url: str) -> None:
    (block,) = select(url, "public.things", {"id": "bigint"}, [("id", False)])
    assert len(block) == 5
    with pytest.raises(UserError, match=r'relation "elsewhere.things" does not exist'):
        list(select(url, "elsewhere.things", TYPES))


def test_rows_are_read_in_blocks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    url, connection = database
    connection.execute("CREATE TABLE numbers AS SELECT g AS id FROM generate_series(1, 2500) g")
    monkeypatch.setattr(postgres, "BLOCK_ROWS", 1000)
    blocks = select(url, "numbers", {"id": "bigint"}, [("id", False)])
    assert len(next(blocks)) == 1000
    # A cursor on the server is open: the client has not received the other rows.
    (query,) = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'FETCH%'"
    ).fetchone()
    assert query == 1
    assert [len(block) for block in blocks] == [1000, 500]


def test_closing_the_iterator_closes_the_connection(url: str, database: Database) -> None:
    blocks = select(url, "things", TYPES)
    next(blocks)
    blocks.close()
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    # The server detects the end of a connection after a delay.
    deadline = time.monotonic() + 10
    while database[1].execute(count).fetchone() != (1,):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "table", ["things; DROP TABLE things", 'things" --', "things WHERE id = 1", "(SELECT 1)"]
)
def test_table_and_column_names_are_not_executed_as_sql(url: str, table: str) -> None:
    with pytest.raises(UserError, match="does not exist"):
        list(select(url, table, TYPES))
    with pytest.raises(UserError, match="has no column"):
        list(select(url, "things", TYPES, [(table, False)]))
    assert len(ids(url)) == 5


def test_a_missing_table_a_missing_column_and_an_empty_table_raise_user_errors(
    url: str, database: Database
) -> None:
    with pytest.raises(
        UserError, match=r'^postgresql://127\.0\.0\.1:\d+/\w+: relation "other" does not exist$'
    ):
        list(select(url, "other", TYPES))
    with pytest.raises(UserError, match="things has no column colour, shape; it has id, size, name, content"):
        list(select(url, "things", {**TYPES, "shape": "text", "colour": "text"}))
    database[1].execute("DELETE FROM things")
    with pytest.raises(UserError, match="the table things has no rows"):
        list(select(url, "things", TYPES))


def test_a_value_of_another_type_raises_a_user_error(url: str) -> None:
    with pytest.raises(UserError, match='invalid input syntax for type double precision: "c"'):
        list(select(url, "things", {"name": "double precision"}))


def test_wrong_password_unknown_user_and_unknown_database_raise_user_errors(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r'database "nothing" does not exist'):
        list(select(url.rpartition("/")[0] + "/nothing", "things", TYPES))
    monkeypatch.setenv("PGUSER", "unknown_user")
    with pytest.raises(UserError, match=r'password authentication failed for user "unknown_user"'):
        list(select(url, "things", TYPES))
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGPASSWORD", "wrong-secret")
    with pytest.raises(UserError, match="Check PGUSER and PGPASSWORD") as raised:
        list(select(url, "things", TYPES))
    assert "wrong-secret" not in str(raised.value)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", "/nothing")
    with pytest.raises(UserError, match="no password supplied"):
        list(select(url, "things", TYPES))


def test_a_password_file_is_used(
    url: str, postgres_server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = folder / "pgpass"
    secret.write_text(f"127.0.0.1:{postgres_server.port}:*:{USER}:{PASSWORD}\n")
    secret.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(secret))
    assert len(ids(url)) == 5


def test_a_table_without_read_permission_raises_a_user_error(
    url: str, database: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database[1].execute(f"CREATE ROLE {name}_reader LOGIN PASSWORD 'x'")
    monkeypatch.setenv("PGUSER", f"{name}_reader")
    monkeypatch.setenv("PGPASSWORD", "x")
    with pytest.raises(UserError, match="table things; this user does not have the permission"):
        list(select(url, "things", TYPES))


def test_a_statement_timeout_raises_a_transient_error(url: str, database: Database) -> None:
    """Another session locks the table, so the statement or the lock wait reaches its timeout."""
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TransientError, match=r"no response within 0\.2 s .*a longer timeout may help"):
            list(select(url, "things", TYPES, seconds=0.2))


def test_a_closed_connection_raises_a_transient_error(url: str, database: Database) -> None:
    connection = database[1]
    connection.execute("CREATE TABLE big AS SELECT g AS id FROM generate_series(1, 50000) g")
    blocks = select(url, "big", {"id": "bigint"})
    next(blocks)
    other_sessions = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection.execute(f"SELECT pg_terminate_backend(pid) {other_sessions}")
    with pytest.raises(TransientError, match=r"postgresql://"):
        list(blocks)


def test_a_refused_connection_raises_a_transient_error() -> None:
    with pytest.raises(TransientError, match="refused"):
        list(select(f"postgresql://127.0.0.1:{free_port()}/x", "things", TYPES))


def test_an_unknown_host_raises_an_error_with_its_name() -> None:
    with pytest.raises((UserError, TransientError), match=r"nowhere\.invalid"):
        list(select("postgresql://nowhere.invalid/x", "things", TYPES))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("postgresql://me:secret@host/x", "set PGUSER and PGPASSWORD, or PGPASSFILE"),
        ("postgresql://me@host/x", "set PGUSER and PGPASSWORD"),
        ("postgresql://host/x?password=secret", "set PGUSER and PGPASSWORD"),
        ("postgresql://host/x?sslmode=require&user=secret", "set PGUSER and PGPASSWORD"),
        ("postgresql://host/x?options=-csecret", "options is not supported in an address; supported are"),
        ("mysql://host/x", "give postgresql://HOST:PORT/DATABASE"),
        ("postgresql://host:port/x", "address of the database is invalid"),
    ],
)
def test_an_address_with_credentials_or_of_another_form_raises_a_user_error(
    source: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised, connect(source):
        pass
    assert "secret" not in str(raised.value)
