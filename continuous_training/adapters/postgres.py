"""Rows of PostgreSQL tables, streamed; who may read them is never said in an address.

An address is postgresql://HOST[:PORT]/DATABASE[?sslmode=...]. User and password come from the environment, as
every PostgreSQL client reads it: PGUSER and PGPASSWORD, or PGPASSFILE, a file with lines
HOST:PORT:DATABASE:USER:PASSWORD that only its owner may read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from continuous_training.core.errors import PipelineError, TransientError, UserError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable

CONNECT_SECONDS = 10
FETCHED = 10_000
"""Rows that are in memory at once."""

_OPTIONS = {"sslmode", "sslrootcert", "target_session_attrs", "channel_binding"}
_PASSING = re.compile(
    "timeout expired|refused|starting up|shutting down|too many (clients|connections)|recovery mode|"
    "Temporary failure|closed the connection|reset by peer|unreachable",
)
_CREDENTIALS = re.compile(
    "authentication failed|no password supplied|role .* does not exist|pg_hba|peer auth"
)


@contextmanager
def connect(source: str, seconds: float = 60) -> Iterator[Connection[Any]]:
    """Yield a connection that is closed when the block ends; its statements may take `seconds` each.

    Everything in the block is one transaction, undone when the block fails. Errors of the server and of the
    way to it become UserError or TransientError, and name the address.
    """
    place = _checked(source)
    try:
        import psycopg
    except ImportError:
        raise UserError(
            "psycopg, which reads PostgreSQL, is not installed: make install EXTRAS=postgres"
        ) from None
    try:
        connection = psycopg.connect(
            source,
            connect_timeout=CONNECT_SECONDS,
            application_name="continuous-training",
            options=f"-c statement_timeout={int(seconds * 1000)} -c lock_timeout={int(seconds * 1000)}",
        )
    except psycopg.Error as error:
        raise _no_connection(place, str(error)) from None
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        raise _explain(place, error, seconds) from None


def select(
    source: str,
    table: str,
    columns: dict[str, str],
    order: Sequence[tuple[str, bool]] = (),
    limit: int = 0,
    seconds: float = 60,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the table's rows in blocks, as they come from a cursor on the server.

    `columns` maps a name to the SQL type that it is cast to; `order` holds names and whether they descend;
    `limit` is the most rows, 0 for all. `table` may be SCHEMA.TABLE. Raises UserError when there is no such
    table or column, or no row, and TransientError when the server goes away or takes too long.
    """
    with connect(source, seconds) as connection:
        # Not before connect, which says what to do when it is not installed.
        from psycopg import sql

        name = sql.Identifier(*table.split("."))
        connection.read_only = True
        _check_columns(connection, name, table, [*columns, *(column for column, _ in order)])
        cast = [
            sql.SQL("CAST({} AS {})").format(sql.Identifier(column), sql.SQL(kind))
            for column, kind in columns.items()
        ]
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(cast), name)
        if order:
            by = [
                sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL("DESC" if d else "ASC")) for c, d in order
            ]
            query += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(by)
        if limit:
            query += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        with connection.cursor(name="rows") as cursor:
            cursor.execute(query)
            found = 0
            while block := cursor.fetchmany(FETCHED):
                found += len(block)
                yield block
        if not found:
            raise UserError(f"{_checked(source)}: the table {table} has no rows")


def _check_columns(connection: Connection[Any], name: Composable, table: str, wanted: Sequence[str]) -> None:
    from psycopg import sql

    # No row is read; the answer still says what the table is made of.
    described = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description or []
    has = [column.name for column in described]
    missing = sorted(set(wanted) - set(has))
    if missing:
        raise UserError(f"the table {table} has no column {', '.join(missing)}; it has {', '.join(has)}")


def _checked(source: str) -> str:
    """Return the address as it may be shown; UserError when it says more than where the rows are."""
    try:
        parts = urlsplit(source)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise UserError(f"the address of the database is none: {error}") from None
    place = f"postgresql://{parts.hostname or ''}{port}{parts.path}"
    options = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if "@" in parts.netloc or options & {"user", "password", "passfile", "sslpassword"}:
        raise UserError(
            f"source {place}: user and password do not belong into an address, which is logged; set "
            "PGUSER and PGPASSWORD, or PGPASSFILE"
        )
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise UserError(f"source {place}: give postgresql://HOST:PORT/DATABASE")
    if options - _OPTIONS:
        raise UserError(
            f"source {place}: {', '.join(sorted(options - _OPTIONS))} is not read from an address; "
            f"allowed are {', '.join(sorted(_OPTIONS))}"
        )
    return place


def _no_connection(place: str, text: str) -> PipelineError:
    """Return the error for a connection that could not be made; the driver gives a text and no code."""
    said = " ".join(text.split())
    if _CREDENTIALS.search(said):
        return UserError(
            f"{place}: {said}. Look at PGUSER and PGPASSWORD, or at the file that PGPASSFILE names"
        )
    if _PASSING.search(said):
        return TransientError(f"{place}: {said}")
    return UserError(f"{place}: {said}")


def _explain(place: str, error: Exception, seconds: float) -> PipelineError:
    from psycopg import errors

    said = " ".join(str(error).split())
    if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
        return TransientError(f"{place}: no answer within {seconds:g} s ({said}); more time may help")
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
        return UserError(f"{place}: {said.partition(' LINE ')[0]}")
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(f"{place}: {said}; this user may not do that")
    # Class 08 and 57: the connection, and an operator who intervenes; without a code the line is dead.
    state = getattr(error, "sqlstate", None)
    if state is None or state[:2] in {"08", "40", "53", "57"}:
        return TransientError(f"{place}: {said or 'the connection broke'}")
    return UserError(f"{place}: {said}")
