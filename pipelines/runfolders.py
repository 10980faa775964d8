"""The folders that local runs leave behind: `STATE/runs/RUN`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from adapters.object_store import ObjectStore
from adapters.records import Records

_RUN = re.compile(r"([a-z][a-z0-9]*)-\d{8}T\d{6}-[0-9a-f]+")
LONGEST_RUN = 24 * 3600.0


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, and the workload and the id in its name."""

    path: Path
    workload: str

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(path.lstat().st_size for path in self.path.rglob("*") if not path.is_dir())


def folders_of(runs: Path, workload: str = "") -> list[RunFolder]:
    """Return the run folders of a workload, or of all, the oldest first; anything else is left out."""
    found = []
    for path in sorted(runs.iterdir()) if runs.is_dir() else []:
        match = _RUN.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and workload in ("", match[1]):
            found.append(RunFolder(path, match[1]))
    return found


def is_unfinished(folder: RunFolder, store: ObjectStore, workload: str) -> bool:
    """Tell whether the run may still be going on: it has come to nothing yet, and is not old."""
    if Records(store, workload).run(folder.run):
        return False
    return time.time() - folder.path.stat().st_mtime < LONGEST_RUN
