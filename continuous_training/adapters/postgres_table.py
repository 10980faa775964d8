"""Find a table and its columns by their names, as written or in another case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import UserError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable


@dataclass(frozen=True)
class DatabaseTable:
    """A table of a database: its name in SQL, and the name of each requested column in the table."""

    name: Composable
    columns: dict[str, str]


def find_table(connection: Connection[Any], table: str, columns: Sequence[str]) -> DatabaseTable:
    """Return the table, TABLE or SCHEMA.TABLE, and its columns.

    The name of the table is read as written, or else in lower case, as PostgreSQL reads names without
    quotes. A column may differ in case. Raises UserError if a column is missing or if several match, and
    psycopg.Error if the table does not exist.
    """
    from psycopg import sql

    names = [sql.Identifier(*spelling.split(".")) for spelling in dict.fromkeys((table, table.lower()))]
    name = next((name for name in names if _exists(connection, name)), names[0])
    # The result has no rows, but it describes the columns.
    description = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description or []
    return DatabaseTable(name, _match_columns(table, columns, [column.name for column in description]))


def _exists(connection: Connection[Any], name: Composable) -> bool:
    row = connection.execute("SELECT to_regclass(%s)", [name.as_string(connection)]).fetchone()
    return row is not None and row[0] is not None


def _match_columns(table: str, required: Iterable[str], existing: Sequence[str]) -> dict[str, str]:
    """Return the existing name of each required column."""
    matches: dict[str, str] = {}
    missing: set[str] = set()
    for column in required:
        similar = [name for name in existing if name.lower() == column.lower()]
        if column in existing or len(similar) == 1:
            matches[column] = column if column in existing else similar[0]
        elif similar:
            raise UserError(
                f"the table {table} has several columns for {column}: {', '.join(similar)}. Create a view "
                "with one of them"
            )
        else:
            missing.add(column)
    if missing:
        raise UserError(
            f"the table {table} has no column {', '.join(sorted(missing))}; it has {', '.join(existing)}"
        )
    return matches
