"""Temporary files and folders that the next command removes if their process was killed.

A name has the form `.NAME-RANDOM.tmp`. The process that uses the file or folder holds a lock on it, which the
operating system releases at the end of the process: without a lock, it is a leftover.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"\..+-[0-9a-f]{8}\.tmp")
_FORMER_NAME = re.compile(r"\..+-\d+")
"""The names of earlier versions, `.NAME-PID`: their processes hold no lock."""
_FORMER_SECONDS = 3600.0


class TemporaryFolder:
    """A new folder in `parent`, which `remove`, the end of a `with` block or of the process removes."""

    def __init__(self, parent: Path, name: str) -> None:
        self.path, handle = _create(parent, name, mode=None)
        self.remove = weakref.finalize(self, _remove_own, self.path, handle, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()


@contextmanager
def temporary_file(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new empty file next to `target`, to be written and renamed. Remove it if it is not renamed."""
    path, handle = _create(target.parent, target.name, mode)
    try:
        yield path
    finally:
        if _is_open(path, handle):
            path.unlink()
        os.close(handle)


def system_folder(name: str) -> TemporaryFolder:
    """Return a new folder in the system's folder for temporary files, and remove the leftovers there."""
    folder = Path(tempfile.gettempdir())
    remove_leftovers(folder, recursive=False)
    return TemporaryFolder(folder, name)


@contextmanager
def temporary_files_in(state: Path, name: str) -> Iterator[None]:
    """Let the module `tempfile` use a folder in the state directory within the block.

    The folder of `tempfile` belongs to the process: overlapping blocks, for example in two threads, share
    the folder of the first one until all have ended. Without a state directory that can be written,
    `tempfile` keeps the system's folder.
    """
    if not _default_folder.enter(state, name):
        yield
        return
    try:
        yield
    finally:
        _default_folder.leave()


class _DefaultFolder:
    """The folder of the module `tempfile`, and the number of blocks that use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._folder: TemporaryFolder | None = None
        self._former: str | None = None

    def enter(self, state: Path, name: str) -> bool:
        """Use a new folder, or that of other blocks. Return whether there is one."""
        with self._lock:
            if self._folder is None:
                try:
                    self._folder = TemporaryFolder(state, name)
                except OSError:
                    return False
                self._former, tempfile.tempdir = tempfile.tempdir, str(self._folder.path)
            self._users += 1
            return True

    def leave(self) -> None:
        """Remove the folder if no other block uses it."""
        with self._lock:
            self._users -= 1
            if not self._users and self._folder:
                tempfile.tempdir = self._former
                self._folder.remove()
                self._folder = None


_default_folder = _DefaultFolder()


@dataclass(frozen=True)
class Leftover:
    """A temporary file or folder of a process that was killed, with its size in bytes."""

    path: Path
    size: int

    def remove(self) -> None:
        """Remove it, unless a process has locked it in the meantime."""
        with suppress(OSError):
            handle = _open(self.path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_open(self.path, handle):
                    _remove(self.path)
            finally:
                os.close(handle)


def find_leftovers(root: Path, *, recursive: bool = True) -> list[Leftover]:
    """Return the leftovers below `root`, sorted by path. Without `recursive`, only those directly in it."""
    leftovers = []
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if _is_temporary(path) and not _is_locked(path):
                leftovers.append(Leftover(path, _size(path)))
        folders[:] = [name for name in folders if recursive and not _NAME.fullmatch(name)]
    return sorted(leftovers, key=lambda leftover: leftover.path)


def remove_leftovers(root: Path, *, recursive: bool = True) -> None:
    """Remove the leftovers below `root`."""
    for leftover in find_leftovers(root, recursive=recursive):
        leftover.remove()


def _create(parent: Path, name: str, mode: int | None) -> tuple[Path, int]:
    """Create a locked file with `mode`, or a folder if it is None. Return its path and its descriptor."""
    while True:
        path = parent / f".{name}-{secrets.token_hex(4)}.tmp"
        try:
            if mode is None:
                path.mkdir(0o700)
                handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except (FileExistsError, FileNotFoundError):
            if not parent.is_dir():
                raise
            continue
        # A file system without locks reports an error, and then nothing on it counts as a leftover.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Another process may have removed it before it was locked.
        if _is_open(path, handle):
            return path, handle
        os.close(handle)


def _is_open(path: Path, handle: int) -> bool:
    """Return whether the descriptor belongs to the current file or folder at the path."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _is_temporary(path: Path) -> bool:
    if _NAME.fullmatch(path.name):
        return True
    try:
        is_old = time.time() - path.lstat().st_mtime > _FORMER_SECONDS
    except OSError:
        return False
    return is_old and _FORMER_NAME.fullmatch(path.name) is not None and path.is_file()


def _is_locked(path: Path) -> bool:
    """Return whether a process uses the file or folder, or whether this is not known."""
    try:
        handle = _open(path)
    except OSError:
        return True
    try:
        # A shared lock, so that two simultaneous checks do not report each other.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _size(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    total = 0
    for file in files if path.is_dir() else [path]:
        # Its owner may remove it at the same time.
        with suppress(OSError):
            total += file.lstat().st_size
    return total


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_own(path: Path, handle: int, process: int) -> None:
    """Remove a folder and release its lock. A forked process leaves both to its parent."""
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)
