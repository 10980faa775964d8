"""An archive that the store has lost, put back from the endpoint's own copy of the very same bytes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.digest import digest_file
from continuous_training.rollout.local import LocalTarget


@dataclass(frozen=True)
class Loss:
    """A version whose archive is missing from the store or was altered there, and a copy that is sound."""

    version: ModelVersion
    trouble: str
    copy: Path

    def put_back(self, store: ObjectStore) -> None:
        """Have the store hold the registered bytes again."""
        key = self.version.archive
        # What is there is of no use to anybody: its digest is another one.
        store.delete(key)
        store.put_if_absent(key, self.copy)


def find_loss(version: ModelVersion, store: ObjectStore, state: Path) -> Loss | None:
    """Return what may be put back: None where the store's archive is sound, or no copy has its digest."""
    trouble = _trouble(version, store)
    if trouble is None:
        return None
    copies = LocalTarget(state).archive_folder.glob(f"{version.name}-{version.digest[:12]}*.mar")
    found = next((copy for copy in copies if digest_file(copy) == version.digest), None)
    return Loss(version, trouble, found) if found else None


def _trouble(version: ModelVersion, store: ObjectStore) -> str | None:
    if store.size(version.archive) is None:
        return "is missing"
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        sound = digest_file(store.fetch(version.archive, Path(folder))) == version.digest
    return None if sound else "was altered"
