"""Atomic writes of files and folders, and deterministic JSON."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.core.indented_json import indented_json
from continuous_training.core.temporary_files import TemporaryFolder, remove_leftovers, temporary_file


@contextmanager
def new_folder(path: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder, which is renamed to `path` after the block, or removed if the block fails.

    An existing folder at `path` is replaced at the end, if it is empty or contains the file `mark`. Raises
    UserError for any other folder or file there.
    """
    path = path.resolve()
    if path.exists() and not (path.is_dir() and ((path / mark).is_file() or not any(path.iterdir()))):
        raise UserError(f"{path} is not empty and contains no {mark}, so it is kept; use another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, recursive=False)
    with TemporaryFolder(path.parent, path.name) as temporary:
        # Containers with other users read the artifact.
        temporary.chmod(0o755)
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically and durably: a reader sees the old file or the new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        replace_durably(temporary, path)


def replace_durably(temporary: Path, path: Path) -> None:
    """Rename a complete file to `path`, so that a power cut leaves the old file or the new file.

    Without a sync of the file before the rename, the new file may be empty after a power cut. The sync of the
    folder writes the rename itself.
    """
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def link_durably(temporary: Path, path: Path) -> None:
    """Give a complete file the new name `path`. Raises FileExistsError if that file exists.

    Unlike a rename, a link does not replace an existing file.
    """
    _sync(temporary)
    os.link(temporary, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_json(value: Any) -> str:
    """Return deterministic, readable JSON. Raises ValueError for NaN and infinities."""
    return indented_json(value) + "\n"


def plain(value: Any) -> Any:
    """Return the data with None instead of NaN and infinities."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
