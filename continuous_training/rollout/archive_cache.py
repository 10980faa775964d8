"""Local copies of the archives that a rollout uses."""

from __future__ import annotations

from pathlib import Path

from continuous_training.adapters import model_store
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.temporary_files import system_folder
from continuous_training.rollout.golden_verification import read_golden_set
from continuous_training.rollout.trial import DeployedVersion


class ArchiveCache:
    """The archives of a rollout as local files, by version.

    Downloads are deleted together with the cache object.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._paths: dict[DeployedVersion, Path] = {}
        self._folder = system_folder("archives")

    def add(self, version: DeployedVersion, path: Path) -> None:
        """Use the local file `path` as the archive of a version."""
        self._paths[version] = path

    def path(self, version: DeployedVersion) -> Path:
        """Return the archive of a version, downloaded at first use; UserError if the store has none."""
        if version not in self._paths:
            pointer = model_store.find(self._store, f"{version.name}@{version.digest}")
            self._paths[version] = self._store.fetch(pointer.key, self._folder.path)
        return self._paths[version]

    def golden_requests(self, version: DeployedVersion) -> GoldenSet:
        """Return the golden requests in the archive of a version; there is at least one."""
        return read_golden_set(self.path(version))
