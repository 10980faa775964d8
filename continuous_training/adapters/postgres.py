"""Stream the rows of PostgreSQL tables.

`postgres_address` describes the address. User and password come from the environment, as for every PostgreSQL
client: PGUSER and PGPASSWORD, or PGPASSFILE, a file with lines HOST:PORT:DATABASE:USER:PASSWORD that only its
owner can read. An address must not contain them.

Settings belong to the transaction (SET LOCAL), because a connection pool such as PgBouncer accepts no options
at the start of a session, and another client gets the connection after the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.postgres_address import DatabaseAddress
from continuous_training.adapters.postgres_table import find_table
from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.errors import PipelineError, TransientError, UserError

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 10
BLOCK_ROWS = 10_000
"""The number of rows in memory at once."""

_TRANSIENT = re.compile(
    "timeout expired|refused|starting up|shutting down|too many (clients|connections)|recovery mode|"
    "Temporary failure|closed the connection|reset by peer|unreachable",
)
_CREDENTIALS = re.compile(
    "authentication failed|no password supplied|role .* does not exist|pg_hba|peer auth"
)


@contextmanager
def connect(
    source: str, seconds: float = 60, addresses: AddressPolicy = OUTSIDE_CLUSTER, *, read_only: bool = False
) -> Iterator[Connection[Any]]:
    """Yield a connection; close it after the block. `seconds` is the timeout of each statement.

    The block is one transaction, which is rolled back if the block fails. A row that row-level security hides
    is an error. `addresses` decides where the address may lead. Errors of the server and of the connection
    become UserError or TransientError with the address.
    """
    try:
        import psycopg
        from psycopg.conninfo import make_conninfo
    except ImportError:
        raise UserError(
            "psycopg, the PostgreSQL client, is not installed: make install EXTRAS=postgres"
        ) from None
    address = DatabaseAddress.parse(source)
    defaults = {"connect_timeout": str(CONNECT_SECONDS), "application_name": "continuous-training"}
    try:
        # A prepared statement exists on one of the server's connections, which a pool exchanges.
        connection = psycopg.connect(
            make_conninfo(**{**defaults, **address.resolved(addresses)}), prepare_threshold=None
        )
    except psycopg.Error as error:
        raise _connection_error(address.label, str(error)) from None
    try:
        with connection:
            connection.read_only = read_only
            for name in ("statement_timeout", "lock_timeout"):
                connection.execute(f"SET LOCAL {name} = {int(seconds * 1000)}")
            connection.execute("SET LOCAL row_security = off")
            yield connection
    except psycopg.Error as error:
        raise _statement_error(address.label, error, seconds) from None


def select(
    source: str,
    table: str,
    columns: dict[str, str],
    order: Sequence[tuple[str, bool]] = (),
    limit: int = 0,
    seconds: float = 60,
    addresses: AddressPolicy = OUTSIDE_CLUSTER,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table in blocks, with a cursor on the server.

    `columns` maps a name to the SQL type of the cast, `order` has pairs of a name and whether it is
    descending, and `limit` is the maximum number of rows (0: all). `table` may be SCHEMA.TABLE; `find_table`
    describes which names match. `addresses` decides where the address may lead. Raises
    UserError if the table, a column or any row is missing, and TransientError if the server is unavailable or
    a statement times out.
    """
    with connect(source, seconds, addresses, read_only=True) as connection:
        # After connect, which reports a missing installation.
        from psycopg import sql

        existing = find_table(connection, table, [*columns, *(column for column, _ in order)])
        identifiers = {column: sql.Identifier(name) for column, name in existing.columns.items()}
        cast = [
            sql.SQL("CAST({} AS {})").format(identifiers[column], sql.SQL(kind))
            for column, kind in columns.items()
        ]
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(cast), existing.name)
        if order:
            terms = [
                sql.SQL("{} {}").format(identifiers[c], sql.SQL("DESC" if d else "ASC")) for c, d in order
            ]
            query += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(terms)
        if limit:
            query += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        # COPY takes a quarter of the client's CPU time, but the timeout would apply to all rows together, and
        # limit the size of the table. Each FETCH of a cursor has its own timeout.
        with connection.cursor(name="rows") as cursor:
            cursor.execute(query)
            count = 0
            while block := cursor.fetchmany(BLOCK_ROWS):
                count += len(block)
                yield block
        if not count:
            raise UserError(f"{DatabaseAddress.parse(source).label}: the table {table} has no rows")


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
    if isinstance(error, errors.InsufficientPrivilege) and "row-level security" in message:
        return UserError(
            f"{address}: {message}. Row-level security would hide rows from this user, and the data would be "
            "incomplete: use a role with BYPASSRLS, or a table that contains only the rows to read"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(f"{address}: {message}; this user does not have the permission")
    # Classes 08 and 57: connection errors and operator intervention. No code: the connection was lost.
    state = getattr(error, "sqlstate", None)
    if state is None or state[:2] in {"08", "40", "53", "57"}:
        return TransientError(f"{address}: {message or 'the connection was lost'}")
    return UserError(f"{address}: {message}")
