"""The commit that holds a version's code, found by the code's digest among the commits of this checkout."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

from components.input_digest import code_digest
from continuous_training.core.files import digest_of
from workloads import discovery

MOST = 500
"""How many changes of a workload's folder are looked at, the newest first."""


def is_here(name: str, code: str | None) -> bool | None:
    """Tell whether the workload's code is the same in this checkout; None when it has no such workload."""
    return code_digest(discovery.get(name)) == code if name in discovery.names() else None


def commit_of(name: str, code: str | None) -> str | None:
    """Return the newest commit at which the workload's folder came to have this digest.

    None when no commit of any branch has it (it was changed and not committed), or this is no git checkout.
    """
    if not code or name not in discovery.names():
        return None
    folder = Path(str(sys.modules[type(discovery.get(name)).__module__].__file__)).parent
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
