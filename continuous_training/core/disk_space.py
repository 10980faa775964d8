"""Full disks: recognise them, and name the folder."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MESSAGES = ("No space left on device", "Disk quota exceeded", "database or disk is full")
"""The texts with which the operating system and SQLite report a full disk."""

_MIN_FREE_BYTES = 1 << 16


def is_disk_full(error: OSError) -> bool:
    """Return whether a write failed because there is no space left for it."""
    return error.errno in _DISK_FULL


def reports_full_disk(text: str) -> bool:
    """Return whether the message or the log of another program reports a full disk."""
    return any(message in text for message in _MESSAGES)


def full_folder() -> str:
    """Return the temporary folder or the working directory, whichever is on a full disk.

    Errors of writes to an open file do not contain a path. Returns a general term if neither disk is full.
    """
    for folder in (Path(tempfile.gettempdir()), Path.cwd()):
        if is_full(folder):
            return str(folder)
    return "a disk of this machine"


def is_full(folder: Path) -> bool:
    """Return whether the disk of a folder has no space for another file."""
    return shutil.disk_usage(folder).free < _MIN_FREE_BYTES


def disk_full_message(folder: object) -> str:
    """Return the message for a full disk. `folder` is a folder or a file on it."""
    return f"{folder}: no space left on the device; free some space, then run it again"
