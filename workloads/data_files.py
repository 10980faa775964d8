"""Find the data files of a source: a file, a folder with partitions, or a glob."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from continuous_training.artifacts.source_files import OmissionReason, OmittedFile
from continuous_training.core.errors import UserError
from continuous_training.core.file_selection import (
    Selection,
    is_hidden,
    is_marker,
    reject_compressed_copies,
    select_files,
)

_WILDCARDS = "*?["

Omit = Callable[[OmittedFile], None]
"""The type of `LoadContext.omit`."""


@dataclass(frozen=True)
class DataFile:
    """A file of a source. `name` is its path in the source, for messages."""

    path: Path
    name: str


class Files(Protocol):
    """The type of `LoadContext.files`."""

    def __call__(self, source: str, suffixes: tuple[str, ...]) -> list[DataFile]:
        """Return the files of `source` (a file, folder, glob or address) that end with one of the suffixes.

        Raises UserError if there are none, and for a file that may contain data and would not be read.
        """


def local_files(source: str, suffixes: tuple[str, ...]) -> list[DataFile]:
    """Return the files of a local source."""
    return [DataFile(path, name_in_source(path, source)) for path in matching_files(source, suffixes)]


def ignore_omitted(file: OmittedFile) -> None:
    """Do nothing. The default where omitted files are not recorded."""


def matching_files(source: str, suffixes: tuple[str, ...], omit: Omit = ignore_omitted) -> list[Path]:
    """Return the files of `source` (a file, folder or glob), sorted. Raises UserError if there are none.

    The case of a suffix does not matter. Of a folder, the files in the partition folders such as
    `dt=2025-01-01/` are included. Each omitted file, such as a hidden one, is passed to `omit`. Raises
    UserError for a file that may contain data and would not be read; see `select_files`.
    """
    path = Path(source).expanduser()
    extensions = ", ".join(suffixes)
    if path.is_dir():
        selection = select_files(source, _paths_below(path), suffixes)
        files = [path / name for name in selection.files]
    elif _is_glob(source):
        files, selection = _matches(source, path, suffixes)
    else:
        files, selection = [path] if path.is_file() else [], Selection(())
    record_omitted(selection, omit)
    if not files:
        raise UserError(
            f"source {source!r} matches nothing: give a file, or a folder with {extensions} files"
        )
    return files


def record_omitted(selection: Selection, omit: Omit) -> None:
    """Pass the omitted files of a selection to `omit`."""
    for names, reason in (
        (selection.hidden, OmissionReason.HIDDEN),
        (selection.markers, OmissionReason.MARKER),
        (selection.others, OmissionReason.OTHER),
    ):
        for name in names:
            omit(OmittedFile(name, reason))


def name_in_source(file: Path, source: str) -> str:
    """Return the path of a matching file relative to the folder that `source` names, for messages."""
    path = _base(Path(source).expanduser())
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def _base(path: Path) -> Path:
    """Return the folder that the parts of a path without wildcards name."""
    if not path.is_dir():
        while _is_glob(str(path)):
            path = path.parent
    return path


def _is_glob(source: str) -> bool:
    return any(mark in source for mark in _WILDCARDS)


def _paths_below(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it. A hidden folder counts as one file."""

    def fail(error: OSError) -> None:
        raise UserError(f"source {folder}: {error.filename} cannot be read ({error.strerror})")

    paths: list[str] = []
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        relative = Path(parent).relative_to(folder)
        # A link to a folder is followed, but not in a circle.
        if (real := os.path.realpath(parent)) in visited:
            folders.clear()
            continue
        visited.add(real)
        unread = [name for name in folders if name.startswith((".", "_"))]
        folders[:] = [name for name in folders if name not in unread]
        paths += [(relative / name).as_posix() for name in (*names, *unread)]
    return paths


def _matches(source: str, path: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], Selection]:
    """Return the files that the glob matches, and the omitted matches."""
    try:
        pattern = path.relative_to(path.anchor)
        name = _ignore_case(pattern.name, suffixes)
        matches = sorted(Path(path.anchor).glob(str(pattern.with_name(name))))
    except ValueError as error:
        raise UserError(f"source {source!r}: {error}") from None
    files = [match for match in matches if match.is_file()]
    if matches and not files:
        raise UserError(
            f"source {source!r} matches only folders ({matches[0]}, ...): use a pattern that matches files, "
            f"for instance {source.rstrip('/')}/*{suffixes[0]}"
        )
    base = _base(path)
    names = {match.relative_to(base).as_posix(): match for match in files}
    # As in a shell, a pattern matches hidden files only if it starts with a dot itself.
    hidden = tuple(n for n in names if is_hidden(n) and not pattern.name.startswith("."))
    markers = tuple(n for n in names if n not in hidden and is_marker(n, suffixes))
    selected = [n for n in names if n not in {*hidden, *markers}]
    reject_compressed_copies(source, selected)
    return [names[n] for n in selected], Selection(tuple(selected), hidden, markers)


def _ignore_case(name: str, suffixes: tuple[str, ...]) -> str:
    """Return a pattern that also matches the suffixes in another case: `*.[cC][sS][vV]` for `*.csv`."""
    letters = {part for suffix in suffixes for part in suffix.split(".") if part}

    def both_cases(suffix: re.Match[str]) -> str:
        return "." + "".join(f"[{letter.lower()}{letter.upper()}]" for letter in suffix[1])

    return re.sub(rf"\.({'|'.join(sorted(letters))})\b", both_cases, name, flags=re.IGNORECASE)
