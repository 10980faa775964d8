"""Find the commit that contains the code of a version, by the digest of the workload's folder."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from continuous_training.core.digest import code_digest, digest_of

MAX_COMMITS = 500
"""The number of commits of a workload's folder that are searched, the latest first."""


def is_current(folder: Path | None, code: str | None) -> bool | None:
    """Return whether the folder of a workload has this digest, or None if there is no such folder."""
    return code_digest(folder) == code if folder else None


def commit_of(folder: Path | None, code: str | None) -> str | None:
    """Return the latest commit of any branch in which a workload's folder has this digest.

    Returns None if there is no such commit (the code was not committed), no folder, or no git repository.
    """
    if not code or not folder:
        return None
    output = _git(folder, "log", "--all", f"--max-count={MAX_COMMITS}", "--format=%H", "--", ".")
    commits = (output or b"").decode().split()
    return next((commit for commit in commits if _digest(folder, commit) == code), None)


def _digest(folder: Path, commit: str) -> str | None:
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


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return the output of a git command, or None if it fails or git is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
