"""Select the data files among the files of a folder or a bucket.

Every file is read, reported as omitted, or rejected with an error: no input is omitted silently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from continuous_training.core.errors import UserError

_PARTITION = re.compile(r"[^=]+=.*")
_DATA_ENDINGS = (
    *(".7z", ".bz2", ".gz", ".tar", ".xz", ".zip", ".zst"),
    *(".csv", ".jsonl", ".ndjson", ".tsv", ".xls", ".xlsx"),
    *(".arrow", ".avro", ".feather", ".npy", ".npz", ".orc", ".parquet"),
)
"""Endings of data files. One that the reader cannot read is an error, because its rows would be missing."""


@dataclass(frozen=True)
class Selection:
    """Paths in the source, in order: the files to read, and the omitted files by their kind."""

    files: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def select_files(source: str, paths: Sequence[str], suffixes: tuple[str, ...]) -> Selection:
    """Return the files whose name ends with one of the suffixes, in any case.

    `paths` are relative to the source, with slashes. Files whose path contains a name that starts with a dot
    are hidden. Files in folders whose name starts with an underscore, and files such as `_SUCCESS`, are
    markers of the program that wrote the data. Raises UserError for data files in subfolders that are no
    partitions (`key=value`), for data files of another format, and for a file next to its compressed copy.
    """
    files: list[str] = []
    hidden: list[str] = []
    markers: list[str] = []
    others: list[str] = []
    for path in sorted(paths):
        if is_hidden(path):
            hidden.append(path)
        elif is_marker(path, suffixes):
            markers.append(path)
        elif path.lower().endswith((*suffixes, *_DATA_ENDINGS)):
            _require_readable(source, path, suffixes)
            files.append(path)
        else:
            others.append(path)
    reject_compressed_copies(source, files)
    return Selection(tuple(files), tuple(hidden), tuple(markers), tuple(others))


def is_hidden(path: str) -> bool:
    """Return whether the name of the file or of one of its folders starts with a dot."""
    return any(name.startswith(".") for name in PurePosixPath(path).parts)


def is_marker(path: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a program such as Spark wrote the file for itself: `_SUCCESS`, `_temporary/0/a.csv`."""
    *folders, name = PurePosixPath(path).parts
    is_own_name = name.startswith("_") and not name.lower().endswith(suffixes)
    return is_own_name or any(folder.startswith("_") for folder in folders)


def reject_compressed_copies(source: str, paths: Sequence[str]) -> None:
    """Raise UserError if two of the files differ only in the ending .gz: their rows may be the same."""
    first_by_stem: dict[str, str] = {}
    for path in paths:
        stem = path.lower().removesuffix(".gz")
        first = first_by_stem.setdefault(stem, path)
        if first.lower() != path.lower():
            raise UserError(
                f"source {source}: contains both {first} and {path}. Remove one of them, because the rows of "
                "both may be the same"
            )


def _require_readable(source: str, path: str, suffixes: tuple[str, ...]) -> None:
    folder = PurePosixPath(path).parent
    for name in folder.parts:
        if not _PARTITION.fullmatch(name):
            ending = next((suffix for suffix in suffixes if path.lower().endswith(suffix)), suffixes[0])
            raise UserError(
                f"source {source}: the subfolder {name} contains {path}. Only partition folders such as "
                f"date=2025-01-01 are read. Move the subfolder, or read the files of all subfolders with "
                f"the glob {source.rstrip('/')}/**/*{ending}"
            )
    if not path.lower().endswith(suffixes):
        raise UserError(
            f"source {source}: contains {path}, a data file that cannot be read here; the files end with "
            f"{', '.join(suffixes)}. Move the file, or give a glob: {source.rstrip('/')}/*{suffixes[0]}"
        )
