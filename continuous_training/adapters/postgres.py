"""Stream the rows of PostgreSQL tables.

An address is postgresql://HOST[:PORT]/DATABASE[?sslmode=...]. User and password come from the environment, as
for every PostgreSQL client: PGUSER and PGPASSWORD, or PGPASSFILE, a file with lines
HOST:PORT:DATABASE:USER:PASSWORD that only its owner can read. An address must not contain them.
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
BLOCK_ROWS = 10_000
"""The number of rows in memory at once."""

_OPTIONS = {"sslmode", "sslrootcert", "target_session_attrs", "channel_binding"}
_TRANSIENT = re.compile(
    "timeout expired|refused|starting up|shutting down|too many (clients|connections)|recovery mode|"
    "Temporary failure|closed the connection|reset by peer|unreachable",
)
_CREDENTIALS = re.compile(
    "authentication failed|no password supplied|role .* does not exist|pg_hba|peer auth"
)


@contextmanager
def connect(source: str, seconds: float = 60) -> Iterator[Connection[Any]]:
    """Yield a connection; close it after the block. `seconds` is the timeout of each statement.

    The block is one transaction, which is rolled back if the block fails. Errors of the server and of the
    connection become UserError or TransientError with the address.
    """
    address = _display_address(source)
    try:
        import psycopg
    except ImportError:
        raise UserError(
            "psycopg, the PostgreSQL client, is not installed: make install EXTRAS=postgres"
        ) from None
    try:
        connection = psycopg.connect(
            source,
            connect_timeout=CONNECT_SECONDS,
            application_name="continuous-training",
            options=f"-c statement_timeout={int(seconds * 1000)} -c lock_timeout={int(seconds * 1000)}",
        )
    except psycopg.Error as error:
        raise _connection_error(address, str(error)) from None
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        raise _statement_error(address, error, seconds) from None


def select(
    source: str,
    table: str,
    columns: dict[str, str],
    order: Sequence[tuple[str, bool]] = (),
    limit: int = 0,
    seconds: float = 60,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table in blocks, with a cursor on the server.

    `columns` maps a name to the SQL type of the cast, `order` has pairs of a name and whether it is
    descending, and `limit` is the maximum number of rows (0: all). `table` may be SCHEMA.TABLE. Raises
    UserError if the table, a column or any row is missing, and TransientError if the server is unavailable or
    a statement times out.
    """
    with connect(source, seconds) as connection:
        # After connect, which reports a missing installation.
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
            terms = [
                sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL("DESC" if d else "ASC")) for c, d in order
            ]
            query += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(terms)
        if limit:
            query += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        with connection.cursor(name="rows") as cursor:
            cursor.execute(query)
            count = 0
            while block := cursor.fetchmany(BLOCK_ROWS):
                count += len(block)
                yield block
        if not count:
            raise UserError(f"{_display_address(source)}: the table {table} has no rows")


def _check_columns(
    connection: Connection[Any], name: Composable, table: str, required: Sequence[str]
) -> None:
    from psycopg import sql

    # The result has no rows, but it describes the columns.
    description = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description or []
    existing = [column.name for column in description]
    missing = sorted(set(required) - set(existing))
    if missing:
        raise UserError(f"the table {table} has no column {', '.join(missing)}; it has {', '.join(existing)}")


def _display_address(source: str) -> str:
    """Return the address for messages. Raises UserError for an invalid address, or one with secrets."""
    try:
        parts = urlsplit(source)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise UserError(f"the address of the database is invalid: {error}") from None
    address = f"postgresql://{parts.hostname or ''}{port}{parts.path}"
    options = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if "@" in parts.netloc or options & {"user", "password", "passfile", "sslpassword"}:
        raise UserError(
            f"source {address}: do not put user and password into an address, because addresses are logged; "
            "set PGUSER and PGPASSWORD, or PGPASSFILE"
        )
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise UserError(f"source {address}: give postgresql://HOST:PORT/DATABASE")
    if options - _OPTIONS:
        raise UserError(
            f"source {address}: {', '.join(sorted(options - _OPTIONS))} is not supported in an address; "
            f"supported are {', '.join(sorted(_OPTIONS))}"
        )
    return address


def _connection_error(address: str, text: str) -> PipelineError:
    """Return the error for a failed connection. The driver gives a message and no error code."""
    message = " ".join(text.split())
    if _CREDENTIALS.search(message):
        return UserError(
            f"{address}: {message}. Check PGUSER and PGPASSWORD, or the file that PGPASSFILE names"
        )
    if _TRANSIENT.search(message):
        return TransientError(f"{address}: {message}")
    return UserError(f"{address}: {message}")


def _statement_error(address: str, error: Exception, seconds: float) -> PipelineError:
    from psycopg import errors

    message = " ".join(str(error).split())
    if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
        return TransientError(
            f"{address}: no response within {seconds:g} s ({message}); a longer timeout may help"
        )
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
        return UserError(f"{address}: {message.partition(' LINE ')[0]}")
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(f"{address}: {message}; this user does not have the permission")
    # Classes 08 and 57: connection errors and operator intervention. No code: the connection was lost.
    state = getattr(error, "sqlstate", None)
    if state is None or state[:2] in {"08", "40", "53", "57"}:
        return TransientError(f"{address}: {message or 'the connection was lost'}")
    return UserError(f"{address}: {message}")
