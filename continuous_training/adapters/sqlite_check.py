"""What can be wrong with the database file of a local registry, and what to do about it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from continuous_training.core.errors import PipelineError, TransientError, UserError

_LOCKED_SECONDS = 5.0
"""A commit is over sooner; MLflow itself waits as long."""


def trouble_of(database: Path, whole: bool = False) -> PipelineError | None:
    """Return what keeps the database from being read and written, or None; one that is not there is none.

    Damaged is a UserError, locked a TransientError. `whole` looks through all pages, which takes as long as
    reading the file.
    """
    if not database.exists():
        return None
    address = f"file:{quote(str(database.resolve()))}?mode=rw"
    try:
        connection = sqlite3.connect(address, uri=True, timeout=_LOCKED_SECONDS, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return TransientError(
                f"the registry's database {database} is locked by another program for more than "
                f"{_LOCKED_SECONDS:g} s; try again when that one is done"
            )
        return UserError(f"the registry's database {database} cannot be opened: {error}")
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found == "ok":
        return None
    return UserError(
        f"the registry's database {database} is damaged ({found}): restore it from a copy, or delete "
        f"the folder {database.parent} to begin with an empty registry"
    )
