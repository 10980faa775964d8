"""Find the commit that contains the code of a version: its folder and the modules that it imports."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from continuous_training.core.digest import code_digest, digest_file, digest_of

MAX_COMMITS = 500
"""The number of commits of a workload's code that are searched, the latest first."""

Modules = Mapping[str, str]
"""The sha256 of modules by their path, which begins with `workloads/`; empty for older versions."""
_NONE: Modules = MappingProxyType({})


def is_current(folder: Path | None, code: str | None, modules: Modules = _NONE) -> bool | None:
    """Return whether this checkout has the code of a version, or None without a folder of the workload.

    `code` is the digest of the folder, and `modules` are the workload's modules. A module that is not next to
    the folder belongs to another folder on the Python path, and is not compared.
    """
    if not folder:
        return None
    files = {_next_to(folder, path): digest for path, digest in modules.items()}
    return code_digest(folder) == code and all(
        digest_file(file) == digest for file, digest in files.items() if file.is_file()
    )


def commit_of(folder: Path | None, code: str | None, modules: Modules = _NONE) -> str | None:
    """Return the latest commit of any branch with this code. The arguments are those of `is_current`.

    Returns None if there is no such commit (the code was not committed), no folder, or no git repository.
    """
    if not code or not folder:
        return None
    if not (_git(folder, "rev-parse", "--show-prefix") or b"").strip():
        modules = _NONE  # The folder is a repository, so the modules next to it have other commits.
    paths = [".", *map(_relative, modules)]
    output = _git(folder, "log", "--all", f"--max-count={MAX_COMMITS}", "--format=%H", "--", *paths)
    return next(
        (
            commit
            for commit in (output or b"").decode().split()
            if _folder_digest(folder, commit) == code and _has_modules(folder, commit, modules)
        ),
        None,
    )


def _folder_digest(folder: Path, commit: str) -> str | None:
    """Return the `code_digest` of the folder in a commit, or None if the commit does not contain it."""
    tree = _git(folder, "archive", "--format=tar", commit, ".")
    if tree is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        files = {
            str(Path(member.name)): hashlib.sha256(stream.read()).hexdigest()
            for member in archive
            if member.name.endswith(".py") and (stream := archive.extractfile(member))
        }
    return digest_of(files)


def _has_modules(folder: Path, commit: str, modules: Modules) -> bool:
    """Return whether a commit contains these modules. Modules of other repositories are ignored."""
    for path, digest in modules.items():
        content = _git(folder, "show", f"{commit}:{_relative(path)}")
        if content is None and not _next_to(folder, path).is_file():
            continue
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            return False
    return True


def _relative(path: str) -> str:
    """Return the path of a module relative to the workload's folder."""
    return f"../{path.partition('/')[2]}"


def _next_to(folder: Path, path: str) -> Path:
    return folder.parent / path.partition("/")[2]


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return the output of a git command, or None if it fails or git is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
