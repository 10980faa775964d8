"""Rows of a real PostgreSQL server's tables, and every way in which they may not be had."""

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
    """A database with a table of five rows."""
    address, connection = database
    connection.execute("CREATE TABLE things (id int PRIMARY KEY, size numeric, name varchar(9), more bytea)")
    connection.execute(
        "INSERT INTO things VALUES (3, 1.5, 'c'), (1, 2.5, 'a'), (2, 1.5, 'b'), (5, NULL, 'e'), (4, 0, 'd')"
    )
    return address


def ids(url: str, *order: tuple[str, bool], **given: Any) -> list[int]:
    return [row[0] for block in select(url, "things", TYPES, order, **given) for row in block]


def test_rows_come_in_the_types_and_the_order_that_are_asked_for(url: str) -> None:
    (block,) = select(url, "things", TYPES, [("id", False)])
    assert block == [(1, 2.5, "a"), (2, 1.5, "b"), (3, 1.5, "c"), (4, 0.0, "d"), (5, None, "e")]
    assert ids(url, ("id", True)) == [5, 4, 3, 2, 1]
    assert ids(url, ("size", False), ("id", True), limit=3) == [4, 3, 2]
    assert ids(url.replace("/things", ""), ("id", False), limit=2) == [1, 2]


def test_a_table_may_stand_in_a_schema(url: str) -> None:
    (block,) = select(url, "public.things", {"id": "bigint"}, [("id", False)])
    assert len(block) == 5
    with pytest.raises(UserError, match=r'relation "elsewhere.things" does not exist'):
        list(select(url, "elsewhere.things", TYPES))


def test_rows_come_block_by_block(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    url, connection = database
    connection.execute("CREATE TABLE many AS SELECT g AS id FROM generate_series(1, 2500) g")
    monkeypatch.setattr(postgres, "BLOCK_ROWS", 1000)
    blocks = select(url, "many", {"id": "bigint"}, [("id", False)])
    assert len(next(blocks)) == 1000
    # A cursor on the server is open: the rest has not left it.
    (query,) = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'FETCH%'"
    ).fetchone()
    assert query == 1
    assert [len(block) for block in blocks] == [1000, 500]


def test_a_reader_who_stops_leaves_no_connection(url: str, database: Database) -> None:
    blocks = select(url, "things", TYPES)
    next(blocks)
    blocks.close()
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    # The server notices the end of a connection in its own time.
    deadline = time.monotonic() + 10
    while database[1].execute(count).fetchone() != (1,):
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "table", ["things; DROP TABLE things", 'things" --', "things WHERE id = 1", "(SELECT 1)"]
)
def test_a_name_is_never_read_as_sql(url: str, table: str) -> None:
    with pytest.raises(UserError, match="does not exist"):
        list(select(url, table, TYPES))
    with pytest.raises(UserError, match="has no column"):
        list(select(url, "things", TYPES, [(table, False)]))
    assert len(ids(url)) == 5


def test_a_missing_table_a_missing_column_and_no_rows_are_told(url: str, database: Database) -> None:
    with pytest.raises(
        UserError, match=r'^postgresql://127\.0\.0\.1:\d+/\w+: relation "other" does not exist$'
    ):
        list(select(url, "other", TYPES))
    with pytest.raises(UserError, match="things has no column colour, shape; it has id, size, name, more"):
        list(select(url, "things", {**TYPES, "shape": "text", "colour": "text"}))
    database[1].execute("DELETE FROM things")
    with pytest.raises(UserError, match="the table things has no rows"):
        list(select(url, "things", TYPES))


def test_a_value_of_another_type_is_told(url: str) -> None:
    with pytest.raises(UserError, match='invalid input syntax for type double precision: "c"'):
        list(select(url, "things", {"name": "double precision"}))


def test_a_wrong_password_an_unknown_user_and_an_unknown_database_are_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r'database "nothing" does not exist'):
        list(select(url.rpartition("/")[0] + "/nothing", "things", TYPES))
    monkeypatch.setenv("PGUSER", "nobody_known")
    with pytest.raises(UserError, match=r'password authentication failed for user "nobody_known"'):
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


def test_a_secret_file_says_who_reads(
    url: str, postgres_server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = folder / "pgpass"
    secret.write_text(f"127.0.0.1:{postgres_server.port}:*:{USER}:{PASSWORD}\n")
    secret.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(secret))
    assert len(ids(url)) == 5


def test_a_table_that_the_user_may_not_read_is_told(
    url: str, database: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database[1].execute(f"CREATE ROLE {name}_reader LOGIN PASSWORD 'x'")
    monkeypatch.setenv("PGUSER", f"{name}_reader")
    monkeypatch.setenv("PGPASSWORD", "x")
    with pytest.raises(UserError, match="table things; this user does not have the permission"):
        list(select(url, "things", TYPES))


def test_a_database_that_takes_too_long_is_transient(url: str, database: Database) -> None:
    """Another session holds the table; the statement or the wait for its lock runs out of time."""
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TransientError, match=r"no response within 0\.2 s .*a longer timeout may help"):
            list(select(url, "things", TYPES, seconds=0.2))


def test_a_connection_that_is_cut_is_transient(url: str, database: Database) -> None:
    connection = database[1]
    connection.execute("CREATE TABLE big AS SELECT g AS id FROM generate_series(1, 50000) g")
    blocks = select(url, "big", {"id": "bigint"})
    next(blocks)
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
    with pytest.raises(TransientError, match=r"postgresql://"):
        list(blocks)


def test_nobody_listening_is_transient() -> None:
    with pytest.raises(TransientError, match="refused"):
        list(select(f"postgresql://127.0.0.1:{free_port()}/x", "things", TYPES))


def test_a_host_that_does_not_exist_is_told() -> None:
    with pytest.raises((UserError, TransientError), match=r"nowhere\.invalid"):
        list(select("postgresql://nowhere.invalid/x", "things", TYPES))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("postgresql://me:secret@host/x", "set PGUSER and PGPASSWORD, or PGPASSFILE"),
        ("postgresql://me@host/x", "set PGUSER and PGPASSWORD"),
        ("postgresql://host/x?password=secret", "set PGUSER and PGPASSWORD"),
        ("postgresql://host/x?sslmode=require&user=secret", "set PGUSER and PGPASSWORD"),
        ("postgresql://host/x?options=-csecret", "options is not supported in an address; supported are"),
        ("postgresql://host", "give postgresql://HOST:PORT/DATABASE"),
        ("mysql://host/x", "give postgresql://HOST:PORT/DATABASE"),
        ("postgresql://host:port/x", "address of the database is invalid"),
    ],
)
def test_an_address_that_says_too_much_or_too_little_is_refused(source: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised, connect(source):
        pass
    assert "secret" not in str(raised.value)
