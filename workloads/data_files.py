"""Find the data files of a source: a file, a folder with subfolders, or a glob."""

from __future__ import annotations

import os
import re
from pathlib import Path

from continuous_training.core.errors import UserError

_WILDCARDS = "*?["


def matching_files(source: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files of `source` (a file, folder or glob), sorted. Raises UserError if there are none.

    The case of a suffix does not matter. The files in the subfolders of a folder, such as the partitions
    `dt=2025-01-01/`, are included, except in subfolders whose name starts with a dot or an underscore, such
    as `_temporary`.
    """
    path = Path(source).expanduser()
    extensions = ", ".join(suffixes)
    if path.is_dir():
        files = [file for file in _files_below(path) if file.name.lower().endswith(suffixes)]
    elif _is_glob(source):
        files = _matches(source, path, suffixes)
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise UserError(
            f"source {source!r} matches nothing: give a file, or a folder with {extensions} files"
        )
    return files


def name_in_source(file: Path, source: str) -> str:
    """Return the path of a matching file relative to the folder that `source` names, for messages."""
    path = Path(source).expanduser()
    if not path.is_dir():
        while _is_glob(str(path)):
            path = path.parent
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def _is_glob(source: str) -> bool:
    return any(mark in source for mark in _WILDCARDS)


def _files_below(folder: Path) -> list[Path]:
    files: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        files += [Path(parent, name) for name in names]
    return sorted(files)


def _matches(source: str, path: Path, suffixes: tuple[str, ...]) -> list[Path]:
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
    return files


def _ignore_case(name: str, suffixes: tuple[str, ...]) -> str:
    """Return a pattern that also matches the suffixes in another case: `*.[cC][sS][vV]` for `*.csv`."""
    letters = {part for suffix in suffixes for part in suffix.split(".") if part}

    def both_cases(suffix: re.Match[str]) -> str:
        return "." + "".join(f"[{letter.lower()}{letter.upper()}]" for letter in suffix[1])

    return re.sub(rf"\.({'|'.join(sorted(letters))})\b", both_cases, name, flags=re.IGNORECASE)
