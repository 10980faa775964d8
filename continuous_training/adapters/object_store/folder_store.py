"""An object store in a folder of one machine."""

from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from continuous_training.adapters.object_store.base import ObjectStore, valid_key
from continuous_training.core.disk_space import disk_full_message, is_disk_full
from continuous_training.core.errors import DiskFullError, UserError
from continuous_training.core.files import link_durably, replace_durably
from continuous_training.core.temporary_files import temporary_file


class FolderStore(ObjectStore):
    """Objects as files below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()

    def put_if_absent(self, key: str, path: Path) -> str:
        """Store the file under `key` unless the object exists. Return its path."""
        target = self._path(key)
        return str(target) if target.exists() else self.put(key, path)

    def put(self, key: str, path: Path) -> str:
        """Copy the file to a temporary file, then rename it. Return its path."""
        target = self._path(key)
        with _write_errors(self.root, key), path.open("rb") as source:
            self._put(target, source)
        return str(target)

    def create(self, key: str, data: bytes) -> bool:
        """Write to a temporary file, then link it to the new name."""
        target = self._path(key)
        if target.exists():
            return False
        with _write_errors(self.root, key), _temporary_copy(target, io.BytesIO(data)) as temporary:
            try:
                link_durably(temporary, target)
            except FileExistsError:
                return False
        return True

    def fetch(self, key: str, folder: Path) -> Path:
        """Return the path of the object's file. Raises UserError if it does not exist."""
        path = self._path(key)
        if not path.is_file():
            raise UserError(f"object store {self.root}: there is no {key}")
        return path

    def read(self, key: str) -> bytes | None:
        """Return the file's bytes, or None."""
        path = self._path(key)
        return path.read_bytes() if path.is_file() else None

    def write(self, key: str, data: bytes) -> None:
        """Write to a temporary file, then rename it."""
        with _write_errors(self.root, key):
            self._put(self._path(key), io.BytesIO(data))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below `prefix`, sorted."""
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        paths = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        return sorted(str(path.relative_to(self.root)) for path in paths)

    def size(self, key: str) -> int | None:
        """Return the file's size, or None."""
        path = self._path(key)
        return path.stat().st_size if path.is_file() else None

    def delete(self, key: str) -> None:
        """Remove the file."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        path = (self.root / valid_key(key)).resolve()
        if not path.is_relative_to(self.root):
            raise UserError(f"object store {self.root}: the key {key!r} leaves the folder")
        return path

    def _put(self, target: Path, source: IO[bytes]) -> None:
        with _temporary_copy(target, source) as temporary:
            replace_durably(temporary, target)


@contextmanager
def _temporary_copy(target: Path, source: IO[bytes]) -> Iterator[Path]:
    """Yield a complete temporary file next to `target`. It is removed if it is not renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(target) as temporary:
        with temporary.open("wb") as output:
            shutil.copyfileobj(source, output)
        temporary.chmod(0o644)
        yield temporary


@contextmanager
def _write_errors(root: Path, key: str) -> Iterator[None]:
    """Convert errors of writing to a DiskFullError, or to a UserError with an action."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            message = disk_full_message(f"object store {root}")
            raise DiskFullError(f"{key} was not stored: {message}") from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise UserError(
                f"object store {root}: {key} was not stored: permission denied; check its owner and mode "
                f"({error.strerror})"
            ) from error
        raise
