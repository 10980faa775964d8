"""Select the old archives and the old run folders of a workload, which prune removes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from continuous_training.adapters.model_registry import CHAMPION, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.approval import Approval
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.file_lock import is_held
from continuous_training.operations.approvals import read_approval
from continuous_training.operations.champion_history import read_champion_history
from continuous_training.operations.serving_state import ServingState

RUN_LOCK = "lock"
"""The file in a run's folder whose lock the run holds until it ends."""

_RUN = re.compile(r"([a-z][a-z0-9]*)-\d{8}T\d{6}-[0-9a-f]+")
_SNAPSHOTS = "artifacts/*/prep-data/data"


@dataclass(frozen=True)
class RunFolder:
    """The folder `STATE/runs/RUN` of a local run, and the workload, which is part of the folder's name."""

    path: Path
    workload: str

    @property
    def run(self) -> str:
        """The id of the run."""
        return self.path.name

    def size(self) -> int:
        """Return the total size of all files in bytes."""
        return sum(path.lstat().st_size for path in self.path.rglob("*") if not path.is_dir())

    def snapshots(self) -> int:
        """Return the number of datasets with rows in the folder. A run on unchanged data has none."""
        return sum(any(folder.glob("*.parquet")) for folder in self.path.glob(_SNAPSHOTS))

    def is_active(self) -> bool:
        """Return whether the run is still in progress: its process holds the lock of the folder."""
        return is_held(self.path / RUN_LOCK)


def run_folders(runs: Path, workload: str = "") -> list[RunFolder]:
    """Return the run folders of a workload, or of all, the oldest first. Other files are left out."""
    folders = []
    for path in sorted(runs.iterdir()) if runs.is_dir() else []:
        match = _RUN.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and workload in ("", match[1]):
            folders.append(RunFolder(path, match[1]))
    return folders


@dataclass(frozen=True)
class ItemCounts:
    """The numbers of archives, run folders and data snapshots of a workload."""

    archives: int
    runs: int
    snapshots: int


@dataclass(frozen=True)
class PruneSelection:
    """The versions whose archives are old, with the sizes in bytes; the old run folders; and what remains."""

    versions: list[tuple[ModelVersion, int]]
    runs: list[RunFolder]
    remaining: ItemCounts


def select_old(
    name: str, keep: int, registry: Registry | None, store: ObjectStore, serving: ServingState, runs: Path
) -> PruneSelection:
    """Select the archives and run folders to remove, except the latest `keep` of each. Changes nothing."""
    versions = registry.versions(name) if registry else []
    waiting = _waiting(versions)
    needed_versions = _needed_versions(name, keep, registry, serving, versions) if registry else set()
    needed_versions |= set(waiting)
    sizes = [(version, store.size(version.archive)) for version in versions]
    stored = [(version, size) for version, size in sizes if size is not None]
    old_versions = [(version, size) for version, size in stored if version.version not in needed_versions]
    needed_runs = {
        version.tags.get("pipeline_run") for version in versions if version.version in needed_versions
    } | {approval.run for approval in waiting.values()}
    folders = in_record_order(run_folders(runs, name), RunHistory(store, name).runs())
    old_folders = [
        folder
        for folder in folders[: max(0, len(folders) - keep)]
        if folder.run not in needed_runs and not folder.is_active()
    ]
    remaining = [folder for folder in folders if folder not in old_folders]
    snapshots = sum(folder.snapshots() for folder in remaining)
    counts = ItemCounts(len(stored) - len(old_versions), len(remaining), snapshots)
    return PruneSelection(old_versions, old_folders, counts)


def _waiting(versions: list[ModelVersion]) -> dict[str, Approval]:
    """Return the approvals of the versions that can still be approved, by version."""
    approvals = {version.version: read_approval(version) for version in versions}
    now = datetime.now(UTC)
    return {
        version: approval
        for version, approval in approvals.items()
        if approval and approval.is_waiting and not approval.is_expired(now)
    }


def in_record_order(folders: list[RunFolder], records: list[RunRecord]) -> list[RunFolder]:
    """Return the folders in the order of the runs' records, which does not depend on the clock.

    A folder without a record stays behind the one with the name before its name.
    """
    numbers = {record.run: number for number, record in enumerate(records)}
    keys, last = {}, -1
    for folder in folders:
        last = keys[folder.run] = numbers.get(folder.run, last)
    return sorted(folders, key=lambda folder: keys[folder.run])


def _needed_versions(
    name: str, keep: int, registry: Registry, serving: ServingState, versions: list[ModelVersion]
) -> set[str]:
    """Return the latest versions, those with an alias, the served ones, and those that a rollback needs."""
    aliases = registry.aliases(name)
    history = read_champion_history(registry.alias_history(name), aliases.get(CHAMPION))
    newest = [version.version for version in versions[-keep:]]
    served = [version.version for version in versions if version.digest in serving.digests()]
    return {*newest, *served, *aliases.values(), *history.path[-(keep + 1) :]}
