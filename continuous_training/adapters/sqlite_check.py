"""Check the database file of a local registry."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from continuous_training.core.errors import PipelineError, TransientError, UserError

_LOCKED_SECONDS = 5.0
"""Longer than a commit takes; MLflow uses the same timeout."""


def _check_lock(connection: sqlite3.Connection) -> None:
    """Raise OperationalError if another program holds the lock. No program locks a read-only file."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise


def database_problem(database: Path, all_pages: bool = False) -> PipelineError | None:
    """Return the error that prevents use of the database, or None. A missing database is no error.

    The error is a UserError for a damaged database and a TransientError for a locked one. `all_pages` checks
    all pages, which takes as long as reading the file.
    """
    if not database.exists():
        return None
    if database.stat().st_size == 0:
        # SQLite reads it as a database without tables.
        return damage_error(database, "the file is empty")
    address = f"file:{quote(str(database.resolve()))}?mode=rw"
    try:
        connection = sqlite3.connect(address, uri=True, timeout=_LOCKED_SECONDS, isolation_level=None)
        try:
            _check_lock(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            result = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if all_pages else "ok"
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return TransientError(
                f"the registry's database {database} has been locked by another program for more than "
                f"{_LOCKED_SECONDS:g} s; try again later"
            )
        return UserError(f"the registry's database {database} cannot be opened: {error}")
    except sqlite3.DatabaseError as error:
        result = str(error)
    return None if result == "ok" else damage_error(database, result)


def damage_error(database: Path, reason: str) -> UserError:
    """Return the error for a damaged database, with the reason and what to do."""
    return UserError(
        f"the registry's database {database} is damaged ({reason}): restore it from a copy, or delete "
        f"the folder {database.parent} to start with an empty registry"
    )
