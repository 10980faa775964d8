"""Writes that are whole or not there: beside, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends well, and vanishes when it does not.

    What stood at `path` before is replaced at the very end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    # mkdtemp is private to its user; an artifact is read by other containers, under other users.
    beside.chmod(0o755)
    try:
        yield beside
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
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


def digest_of(value: Any) -> str:
    """Return the sha256 of a JSON-ready value."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()


def digest_of_folder(folder: Path, pattern: str = "**/*") -> str:
    """Return the sha256 over the names and contents of the folder's files that match."""
    files = sorted(p for p in folder.glob(pattern) if p.is_file() and "__pycache__" not in p.parts)
    return digest_of({str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
