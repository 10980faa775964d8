"""Restore an archive that the object store has lost, from the endpoint's copy of the same bytes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.digest import digest_file
from continuous_training.rollout.local import LocalTarget


@dataclass(frozen=True)
class LostArchive:
    """A version whose archive in the store is missing or altered, and an intact copy of it.

    `problem` completes the sentence "the archive ...".
    """

    version: ModelVersion
    problem: str
    copy: Path

    def restore(self, store: ObjectStore) -> None:
        """Write the registered bytes to the store."""
        key = self.version.archive
        # put_if_absent keeps an existing object, so an altered one is deleted first.
        store.delete(key)
        store.put_if_absent(key, self.copy)


def find_lost_archive(version: ModelVersion, store: ObjectStore, state: Path) -> LostArchive | None:
    """Return the archive to restore, or None if the store's archive is intact or no intact copy exists."""
    problem = _problem(version, store)
    if problem is None:
        return None
    copies = LocalTarget(state).archive_folder.glob(f"{version.name}-{version.digest[:12]}*.mar")
    intact = next((copy for copy in copies if digest_file(copy) == version.digest), None)
    return LostArchive(version, problem, intact) if intact else None


def _problem(version: ModelVersion, store: ObjectStore) -> str | None:
    if store.size(version.archive) is None:
        return "is missing"
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        intact = digest_file(store.fetch(version.archive, Path(folder))) == version.digest
    return None if intact else "was altered"
