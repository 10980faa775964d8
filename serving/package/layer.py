"""A layer of an image: a tar file whose bytes depend only on the names and the content of its files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from continuous_training.core.digest import digest_file


@dataclass(frozen=True)
class LayerFile:
    """A file in an image: its path without the leading slash, and the local file or the bytes to copy."""

    name: str
    source: Path | bytes


@dataclass(frozen=True)
class Layer:
    """A tar file and the sha256 of its content, which the image specification calls the DiffID."""

    path: Path
    diff_id: str


def write_layer(path: Path, files: Sequence[LayerFile]) -> Layer:
    """Write a layer with files that all users can read.

    Times, permissions and owners of the local files have no effect: times are 0, and root owns the files.
    """
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        folders: set[PurePosixPath] = set()
        for file in sorted(files, key=lambda file: file.name):
            parents = [folder for folder in reversed(PurePosixPath(file.name).parents) if folder.name]
            for folder in parents:
                if folder not in folders:
                    folders.add(folder)
                    tar.addfile(_entry(str(folder), tarfile.DIRTYPE, 0o755))
            _add_file(tar, file)
    return Layer(path, f"sha256:{digest_file(path)}")


def _add_file(tar: tarfile.TarFile, file: LayerFile) -> None:
    entry = _entry(file.name, tarfile.REGTYPE, 0o644)
    if isinstance(file.source, bytes):
        entry.size = len(file.source)
        tar.addfile(entry, io.BytesIO(file.source))
        return
    entry.size = file.source.stat().st_size
    with file.source.open("rb") as content:
        tar.addfile(entry, content)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    """Return the header of a member; time, user and group of a new TarInfo are 0."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
