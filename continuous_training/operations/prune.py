"""Remove the archives of old versions, the folders of old runs and leftover temporary files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.core.settings import Settings
from continuous_training.core.temporary_files import find_leftovers
from continuous_training.operations.lineage import PRUNED, describe_rows, read_contents
from continuous_training.operations.prune_selection import (
    ItemCounts,
    PruneSelection,
    run_folders,
    select_old,
)
from continuous_training.operations.read_serving_state import read_serving_state
from continuous_training.operations.workspace import endpoint_lock, existing_registry

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a rollout that is in progress."""


@dataclass(frozen=True)
class RemovedItem:
    """An archive, a run folder or a leftover file that was removed, or would be. `size` is in bytes.

    `snapshots` is the number of datasets in a run folder. `version` is None for a run folder. `workload` is
    empty for a leftover temporary file.
    """

    workload: str
    name: str
    size: int
    version: str | None = None
    archives: int = 0
    runs: int = 0
    snapshots: int = 0

    @property
    def is_leftover(self) -> bool:
        """Whether this is a leftover temporary file or folder."""
        return not self.workload

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        return {
            "workload": self.workload,
            "version": self.version,
            "name": self.name,
            "archives": self.archives,
            "runs": self.runs,
            "snapshots": self.snapshots,
            "bytes": self.size,
        }


@dataclass(frozen=True)
class PruneResult:
    """The removed items (with `dry_run`, the items to remove), and the remaining counts by workload."""

    state: str
    keep: int
    dry_run: bool
    removed: tuple[RemovedItem, ...]
    remaining: dict[str, ItemCounts]

    @property
    def counts(self) -> ItemCounts:
        """The numbers of removed archives, run folders and data snapshots."""
        removed = self.removed
        return ItemCounts(
            archives=sum(item.archives for item in removed),
            runs=sum(item.runs for item in removed),
            snapshots=sum(item.snapshots for item in removed),
        )

    @property
    def leftovers(self) -> int:
        """The number of removed leftover files and folders."""
        return sum(item.is_leftover for item in self.removed)

    @property
    def size(self) -> int:
        """The total size of all removed items in bytes."""
        return sum(item.size for item in self.removed)

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {
            "verdict": "planned" if self.dry_run else "pruned",
            "state": self.state,
            "keep": self.keep,
            **vars(self.counts),
            "leftovers": self.leftovers,
            "bytes": self.size,
            "removed": [item.to_json() for item in self.removed],
            "kept": {name: vars(counts) for name, counts in self.remaining.items()},
        }


def prune(
    name: str | None,
    keep: int,
    settings: Settings,
    check_name: Callable[[str, bool], None],
    dry_run: bool = False,
) -> PruneResult:
    """Remove the old archives and run folders of one workload or of all, and keep the newest `keep` of each.

    Also remove the temporary files of killed processes. Raises UserError if the served versions are unknown:
    then nothing is removed. `check_name(name, has_data)` raises UserError for an unknown workload.
    """
    if keep < 1:
        raise UserError(f"--keep {keep} is not allowed: pass 1 or more")
    runs = settings.state / "runs"
    with existing_registry(settings) as registry:
        registered = {version.name for version in registry.versions()} if registry else set()
        names = [name] if name else sorted({*registered, *(f.workload for f in run_folders(runs))})
        for workload in names:
            check_name(workload, workload in registered)
        store = open_store(settings.store, settings.store_access)
        pruning = _Pruning(keep, settings, registry, store, runs, dry_run)
        selections = {workload: pruning.prune(workload) for workload in names}
    removed = [item for items, _ in selections.values() for item in items]
    return PruneResult(
        state=str(settings.state),
        keep=keep,
        dry_run=dry_run,
        removed=(*removed, *_prune_leftovers(settings.state, removed, dry_run)),
        remaining={workload: remaining for workload, (_, remaining) in selections.items()},
    )


def _prune_leftovers(state: Path, removed: list[RemovedItem], dry_run: bool) -> list[RemovedItem]:
    """Remove the leftovers. Those in the folders of `removed` runs are part of these folders."""
    folders = [state / item.name for item in removed if item.runs]
    leftovers = [
        leftover
        for leftover in find_leftovers(state)
        if not any(leftover.path.is_relative_to(folder) for folder in folders)
    ]
    if not dry_run:
        for leftover in leftovers:
            leftover.remove()
    return [RemovedItem("", str(item.path.relative_to(state)), item.size) for item in leftovers]


@dataclass(frozen=True)
class _Pruning:
    keep: int
    settings: Settings
    registry: Registry | None
    store: ObjectStore
    runs: Path
    dry_run: bool

    def prune(self, workload: str) -> tuple[list[RemovedItem], ItemCounts]:
        """Remove the old items of one workload. Return them, and the counts of the remaining items."""
        selection = self._select(workload)
        with ExitStack() as stack:
            if (selection.versions or selection.runs) and not self.dry_run:
                stack.enter_context(endpoint_lock(self.settings, workload, LOCK_TIMEOUT))
                # A rollout before the lock was held may have made a selected version necessary.
                selection = self._select(workload)
            items = list(_items(workload, selection))
            if not self.dry_run:
                self._remove(selection)
        return items, selection.remaining

    def _select(self, workload: str) -> PruneSelection:
        serving = read_serving_state(self.settings)
        if serving.problem:
            raise UserError(f"nothing is removed, because the served versions are unknown: {serving.problem}")
        return select_old(workload, self.keep, self.registry, self.store, serving, self.runs)

    def _remove(self, selection: PruneSelection) -> None:
        for version, size in selection.versions:
            if self.registry:
                # The tag is written first: without it, a removed archive would look like a lost one.
                self.registry.tag(version, PRUNED, self._tag(version, size))
                self.store.delete(version.archive)
        for folder in selection.runs:
            shutil.rmtree(folder.path)

    def _tag(self, version: ModelVersion, size: int) -> str:
        """Return the description of a removed archive that trace needs."""
        contents = read_contents(self.store, version.archive)
        return json.dumps(
            {
                "when": datetime.now(UTC).isoformat(timespec="seconds"),
                "bytes": size,
                "data": describe_rows(contents.data) if contents.data else {},
                "libraries": dict(contents.libraries),
            }
        )


def _items(workload: str, selection: PruneSelection) -> Iterator[RemovedItem]:
    for version, size in selection.versions:
        yield RemovedItem(workload, version.archive, size, version=version.version, archives=1)
    for folder in selection.runs:
        yield RemovedItem(workload, f"runs/{folder.run}", folder.size(), runs=1, snapshots=folder.snapshots())
