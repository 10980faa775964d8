"""The archives of a rollout as local files: the one that is given, and those that the store has."""

from __future__ import annotations

import tempfile
from pathlib import Path

from continuous_training.adapters import model_store
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.rollout.kubernetes.manifests import DeployedVersion


class ArchiveCache:
    """Archives by version; what is downloaded goes with this object."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._paths: dict[DeployedVersion, Path] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="archives-")

    def give(self, version: DeployedVersion, path: Path) -> None:
        """Take a file for a version's archive."""
        self._paths[version] = path

    def path(self, version: DeployedVersion) -> Path:
        """Return a version's archive; UserError when the store has it no more."""
        if version not in self._paths:
            found = model_store.find(self._store, f"{version.name}@{version.digest}")
            self._paths[version] = self._store.fetch(found.key, Path(self._folder.name))
        return self._paths[version]

    def golden(self, version: DeployedVersion) -> GoldenSet:
        """Return a version's golden requests, with their answers."""
        return archive.read_manifest(self.path(version)).golden
