"""Exchange of the dataset and the bundle between a train step and its nodes, through the object store."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.dataset_manifest import MANIFEST
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import PipelineError
from continuous_training.core.files import to_json

_DATA = ("train.parquet", MANIFEST)
"""The files that are uploaded. The nodes do not need the holdout."""

_INDEX = "bundle.json"


@dataclass(frozen=True)
class Exchange:
    """The objects of one training, below `key` in the store. Other trainings use other keys."""

    store: ObjectStore
    key: str

    def put_data(self, data: Path) -> None:
        """Upload the training rows and the manifest of the dataset in `data`. Skip existing objects."""
        for name in _DATA:
            self.store.put_if_absent(f"{self.key}/data/{name}", data / name)

    def fetch_data(self, folder: Path) -> Path:
        """Create `folder` and download the dataset into it. Return the folder."""
        folder.mkdir(parents=True)
        for name in _DATA:
            self._fetch(f"{self.key}/data/{name}", folder / name)
        return folder

    def put_bundle(self, bundle: Path) -> None:
        """Upload the files of the bundle, each under its sha256, and then the index."""
        index = {}
        for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
            digest = digest_file(path)
            self.store.put_if_absent(f"{self.key}/files/{digest}", path)
            index[path.relative_to(bundle).as_posix()] = digest
        self.store.write(f"{self.key}/{_INDEX}", to_json(index).encode())

    def has_bundle(self) -> bool:
        """Return whether the nodes have uploaded a complete bundle."""
        return self.store.size(f"{self.key}/{_INDEX}") is not None

    def fetch_bundle(self, folder: Path) -> None:
        """Download the bundle into the empty `folder`. Raises PipelineError if it is missing or changed."""
        index = self.store.read(f"{self.key}/{_INDEX}")
        if index is None:
            raise PipelineError(f"the nodes ended without leaving a model under {self.key}; see their log")
        for name, digest in json.loads(index).items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise PipelineError(f"{self.key}: the file name {name!r} is outside the bundle")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(f"{self.key}/files/{digest}", target)
            if digest_file(target) != digest:
                raise PipelineError(
                    f"{self.key}: {name} is not the file that the node wrote; run the step again"
                )

    def remove(self) -> None:
        """Delete all objects of this training."""
        for key in self.store.keys(self.key):
            self.store.delete(key)

    def _fetch(self, key: str, target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            fetched = self.store.fetch(key, Path(temporary))
            # FolderStore returns the path of its own file, which must not be moved.
            if fetched.parent == Path(temporary):
                fetched.replace(target)
            else:
                shutil.copyfile(fetched, target)
