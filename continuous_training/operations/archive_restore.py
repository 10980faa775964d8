"""Restore an archive that the object store has lost, from another copy of the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.adapters.stored_archive import archive_problem
from continuous_training.core.digest import digest_file
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings
from continuous_training.operations.workspace import existing_registry
from continuous_training.rollout.local import LocalTarget


@dataclass(frozen=True)
class LostArchive:
    """A version whose archive in the store is missing or altered, and an intact copy of it.

    `problem` completes the sentence "the archive ...".
    """

    version: ModelVersion
    problem: str
    copy: Path

    def describe(self, action: str) -> str:
        """Return the message for the user. `action` is "was" or "would be"."""
        return (
            f"the archive of version {self.version.version}, {self.version.archive}, {self.problem} in the "
            f"store; it {action} restored from {self.copy}"
        )

    def restore(self, store: ObjectStore) -> None:
        """Write the registered bytes to the store."""
        store.put(self.version.archive, self.copy)


def find_lost_archive(version: ModelVersion, store: ObjectStore, state: Path) -> LostArchive | None:
    """Return the archive to restore, or None if the store's archive is intact or no intact copy exists."""
    problem = archive_problem(store, version.archive, version.digest)
    if problem is None:
        return None
    intact = next((copy for copy in _copies(version, state) if digest_file(copy) == version.digest), None)
    return LostArchive(version, problem, intact) if intact else None


def restore_champion(name: str, settings: Settings, progress: Progress) -> None:
    """Restore the champion's archive if the store has lost it and an intact copy exists."""
    with existing_registry(settings) as registry:
        champion = registry.champion(name) if registry else None
    if champion is None:
        return
    store = open_store(settings.store, settings.store_access)
    if lost := find_lost_archive(champion, store, settings.state):
        lost.restore(store)
        progress(lost.describe("was"))


def _copies(version: ModelVersion, state: Path) -> Iterator[Path]:
    """Yield the other copies of a version's archive: of the local server, and in the folder of its run."""
    name = f"{version.name}-{version.digest[:12]}*.mar"
    yield from LocalTarget(state).archive_folder.glob(name)
    if run := version.tags.get("pipeline_run"):
        yield from (state / "runs" / run).glob(f"artifacts/*/archive/archived/{name}")
