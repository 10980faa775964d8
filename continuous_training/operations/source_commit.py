"""The commit that holds a version's code, found by the code's digest among the commits of this checkout."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from continuous_training.core.files import code_digest, digest_of

MOST = 500
"""How many changes of a workload's folder are looked at, the newest first."""


def is_current(folder: Path | None, code: str | None) -> bool | None:
    """Return whether the folder of a workload has this digest, or None if there is no such folder."""
    return code_digest(folder) == code if folder else None


def commit_of(folder: Path | None, code: str | None) -> str | None:
    """Return the newest commit of any branch in which a workload's folder has this digest.

    Returns None if there is no such commit (the code was not committed), no folder, or no git repository.
    """
    if not code or not folder:
        return None
    listed = _git(folder, "log", "--all", f"--max-count={MOST}", "--format=%H", "--", ".")
    commits = (listed or b"").decode().split()
    return next((commit for commit in commits if _digest(folder, commit) == code), None)


def _digest(folder: Path, commit: str) -> str | None:
    """Return what `code_digest` gives for the folder as it was in a commit; None when it was not there."""
    tree = _git(folder, "archive", "--format=tar", commit, ".")
    if tree is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(tree)) as opened:
        files = {
            str(Path(member.name)): hashlib.sha256(stream.read()).hexdigest()
            for member in opened
            if member.name.endswith(".py") and (stream := opened.extractfile(member))
        }
    return digest_of(files)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return what git prints, or None when it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
