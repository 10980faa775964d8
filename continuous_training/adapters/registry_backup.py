"""A copy of a local registry's database, which replaces it when it is damaged.

The copy is made when the server of a command stops, so it is at most one run or rollback old.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from continuous_training.adapters.sqlite_check import database_problem
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.files import replace_durably
from continuous_training.core.progress import Progress


def back_up(database: Path) -> None:
    """Copy the database, unless it is damaged or missing. A failure leaves the previous copy."""
    if not database.is_file() or database_problem(database, all_pages=True):
        return
    temporary = _backup_of(database).with_suffix(f".{os.getpid()}")
    with suppress(sqlite3.Error, OSError):
        temporary.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(database)) as source,
            closing(sqlite3.connect(temporary)) as target,
        ):
            source.backup(target)
        replace_durably(temporary, _backup_of(database))


def repair(database: Path, progress: Progress) -> PipelineError | None:
    """Replace a damaged database by its copy. Return the error that prevents use of the database, or None.

    The damaged file is kept as `mlflow.db.damaged`. A missing database is no error.
    """
    problem = database_problem(database, all_pages=True)
    backup = _backup_of(database)
    if not isinstance(problem, UserError) or not backup.is_file() or database_problem(backup, all_pages=True):
        return problem
    try:
        with (database.parent / "create.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another command may have repaired it before this one held the lock.
            if database_problem(database, all_pages=True):
                _restore(database, backup)
    except OSError:
        return problem
    copied = datetime.fromtimestamp(backup.stat().st_mtime, UTC).isoformat(timespec="seconds")
    progress(
        f"warning: the registry's database {database} was damaged and is replaced by its copy of {copied}; "
        f"the damaged file is {database.name}.damaged"
    )
    return database_problem(database, all_pages=True)


def _restore(database: Path, backup: Path) -> None:
    shutil.copyfile(database, database.with_name(f"{database.name}.damaged"))
    temporary = database.with_name(f"{database.name}.restored")
    shutil.copyfile(backup, temporary)
    # A journal belongs to the damaged file.
    database.with_name(f"{database.name}-journal").unlink(missing_ok=True)
    replace_durably(temporary, database)


def _backup_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.backup")
