"""Writes that are whole or not there: beside, then renamed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continuous_training.core.errors import UserError


@contextmanager
def new_folder(path: Path, mark: str) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends well, and vanishes when it does not.

    An older one at `path` is replaced at the very end. Raises UserError for a folder there that holds
    other things: `mark` is the file by which an older one is known.
    """
    path = path.resolve()
    if path.exists() and not (path.is_dir() and ((path / mark).is_file() or not any(path.iterdir()))):
        raise UserError(f"{path} holds other things than a {mark}, and is not replaced; give another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    # mkdtemp is private to its user; an artifact is read by other containers, under other users.
    beside.chmod(0o755)
    try:
        yield beside
        if path.is_dir():
            shutil.rmtree(path)
        beside.replace(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` whole: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def to_json(value: Any) -> str:
    """Return JSON that is the same for the same value, for people and for digests."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Return JSON-ready data with null for NaN and infinities."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def digest_of(value: Any) -> str:
    """Return the sha256 of a JSON-ready value."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()


def digest_of_folder(folder: Path, pattern: str = "**/*") -> str:
    """Return the sha256 over the names and contents of the folder's files that match."""
    files = sorted(p for p in folder.glob(pattern) if p.is_file() and "__pycache__" not in p.parts)
    return digest_of({str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})


def code_digest(folder: Path) -> str:
    """Return the digest of the Python files in a folder."""
    return digest_of_folder(folder, "**/*.py")
