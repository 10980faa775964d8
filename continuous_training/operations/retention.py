"""What of a workload may go: archives of old versions, and folders of old runs with their data snapshots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import CHAMPION, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.file_lock import is_held
from continuous_training.operations.champion_history import read_line
from continuous_training.operations.serving_state import Serving

RUN_LOCK = "lock"
"""The file in a run's folder whose lock the run holds until it ends."""

_RUN = re.compile(r"([a-z][a-z0-9]*)-\d{8}T\d{6}-[0-9a-f]+")
_SNAPSHOTS = "artifacts/*/prep-data/data"


@dataclass(frozen=True)
class RunFolder:
    """What a local run leaves behind, `STATE/runs/RUN`; the workload and the run's id are its name."""

    path: Path
    workload: str

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(path.lstat().st_size for path in self.path.rglob("*") if not path.is_dir())

    def snapshots(self) -> int:
        """Return how many data sets with rows are in it; a run on unchanged data keeps none."""
        return sum(any(folder.glob("*.parquet")) for folder in self.path.glob(_SNAPSHOTS))

    def goes_on(self) -> bool:
        """Tell whether the run still lives: it holds its folder's lock until it ends, however it does."""
        return is_held(self.path / RUN_LOCK)


def folders_of(runs: Path, workload: str = "") -> list[RunFolder]:
    """Return the run folders of a workload, or of all, the oldest first; anything else is left out."""
    found = []
    for path in sorted(runs.iterdir()) if runs.is_dir() else []:
        match = _RUN.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and workload in ("", match[1]):
            found.append(RunFolder(path, match[1]))
    return found


@dataclass(frozen=True)
class Old:
    """What may go, versions with the sizes of their archives in bytes, and how much of each stays."""

    versions: list[tuple[ModelVersion, int]]
    runs: list[RunFolder]
    kept: dict[str, int]


def find_old(
    name: str, keep: int, registry: Registry | None, store: ObjectStore, serving: Serving, runs: Path
) -> Old:
    """Return what may be removed when the newest `keep` of each stay; nothing is touched."""
    versions = registry.versions(name) if registry else []
    needed = _needed(name, keep, registry, serving, versions) if registry else set()
    sizes = {version.version: store.size(version.archive) for version in versions}
    there = [(version, size) for version in versions if (size := sizes[version.version]) is not None]
    old = [(version, size) for version, size in there if version.version not in needed]
    made_needed = {version.tags.get("pipeline_run") for version in versions if version.version in needed}
    folders = folders_of(runs, name)
    old_runs = [
        folder
        for folder in folders[: max(0, len(folders) - keep)]
        if folder.run not in made_needed and not folder.goes_on()
    ]
    kept = [folder for folder in folders if folder not in old_runs]
    counts = {"archives": len(there) - len(old), "runs": len(kept), "snapshots": _snapshots(kept)}
    return Old(old, old_runs, counts)


def _needed(
    name: str, keep: int, registry: Registry, serving: Serving, versions: list[ModelVersion]
) -> set[str]:
    """Return the versions that stay: the newest, aliased, served, and those that rollback would go to."""
    aliases = registry.aliases(name)
    line = read_line(registry.trail(name), aliases.get(CHAMPION))
    newest = [version.version for version in versions[-keep:]]
    served = [version.version for version in versions if version.digest in serving.digests()]
    return {*newest, *served, *aliases.values(), *line.way[-(keep + 1) :]}


def _snapshots(folders: list[RunFolder]) -> int:
    return sum(folder.snapshots() for folder in folders)
