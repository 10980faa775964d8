"""A copy of a local registry's database, which replaces it when it is damaged.

The copy is made when the server of a command stops, so it is at most one run or rollback old.

SQLite does not notice a flipped bit in a value. The header of the file contains the number of transactions
of all programs. A database with the same number as its copy, but with another content, is damaged. The sha256
of the copy shows that the copy is intact.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from continuous_training.adapters.sqlite_check import damage_error, database_problem
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.files import replace_durably, write_text
from continuous_training.core.progress import Progress
from continuous_training.core.temporary_files import temporary_file

_CHANGE_COUNTER = slice(24, 28)
"""The position of the number of transactions (https://www.sqlite.org/fileformat2.html#file_change_counter)."""


def back_up(database: Path) -> None:
    """Copy the database, unless it is damaged or missing. A failure leaves the previous copy."""
    if not database.is_file() or database_problem(database, all_pages=True):
        return
    backup = _backup_of(database)
    with suppress(sqlite3.Error, OSError):
        content = _read(database)
        with temporary_file(backup) as temporary:
            temporary.write_bytes(content)
            replace_durably(temporary, backup)
        write_text(_digest_of(database), f"{_sha256(content)}  {backup.name}\n")


def repair(database: Path, progress: Progress) -> PipelineError | None:
    """Replace a damaged database by its copy. Return the error that prevents use of the database, or None.

    The damaged file is kept as `mlflow.db.damaged`. A missing database is no error.
    """
    problem = _problem(database)
    backup = _backup_of(database)
    if not isinstance(problem, UserError) or not backup.is_file() or database_problem(backup, all_pages=True):
        return problem
    try:
        with (database.parent / "create.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another command may have repaired it before this one held the lock.
            if _problem(database):
                _restore(database, backup)
    except OSError:
        return problem
    copied = datetime.fromtimestamp(backup.stat().st_mtime, UTC).isoformat(timespec="seconds")
    progress(
        f"warning: the registry's database {database} was damaged and is replaced by its copy of {copied}; "
        f"the damaged file is {database.name}.damaged"
    )
    return _problem(database)


def _problem(database: Path) -> PipelineError | None:
    problem = database_problem(database, all_pages=True)
    if problem is None and _differs_from_copy(database):
        return damage_error(database, "its content has changed without a transaction")
    return problem


def _differs_from_copy(database: Path) -> bool:
    """Return whether the content differs from that of the intact copy after the same transactions."""
    try:
        digest = _digest_of(database).read_text().split()[0]
        content = _read(database)
        if _sha256(content) == digest:
            return False
        copy = _backup_of(database).read_bytes()
    except (sqlite3.Error, OSError, ValueError, IndexError):
        return False
    # A run that is killed between the writes of the two files leaves a copy with another digest.
    return _sha256(copy) == digest and copy[_CHANGE_COUNTER] == content[_CHANGE_COUNTER]


def _read(database: Path) -> bytes:
    """Return the content of the file, between two transactions.

    Opening the file without SQLite would release the locks of this process's other connections.
    """
    address = f"file:{quote(str(database.resolve()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        return connection.serialize()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _restore(database: Path, backup: Path) -> None:
    shutil.copyfile(database, database.with_name(f"{database.name}.damaged"))
    temporary = database.with_name(f"{database.name}.restored")
    shutil.copyfile(backup, temporary)
    # A journal belongs to the damaged file.
    database.with_name(f"{database.name}-journal").unlink(missing_ok=True)
    replace_durably(temporary, database)


def _backup_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.backup")


def _digest_of(database: Path) -> Path:
    """Return the file with the sha256 of the copy, as `sha256sum --check` reads it."""
    return database.with_name(f"{database.name}.backup.sha256")
