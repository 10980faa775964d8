"""What the step and its nodes hand each other: they have no disk in common, only the object store."""

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
"""The nodes learn from the training rows; what is held out stays where it is."""

_INDEX = "bundle.json"


@dataclass(frozen=True)
class Exchange:
    """The objects of one training, below `key` in the store; nobody else looks there."""

    store: ObjectStore
    key: str

    def put_data(self, data: Path) -> None:
        """Store what the nodes need of the dataset in `data`; what is there already stays."""
        for name in _DATA:
            self.store.put_if_absent(f"{self.key}/data/{name}", data / name)

    def fetch_data(self, folder: Path) -> Path:
        """Fetch the dataset into `folder`, which is made; returns it."""
        folder.mkdir(parents=True)
        for name in _DATA:
            self._fetch(f"{self.key}/data/{name}", folder / name)
        return folder

    def put_bundle(self, bundle: Path) -> None:
        """Store the bundle's files, each under its sha256, and last the index that makes it whole."""
        index = {}
        for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
            digest = digest_file(path)
            self.store.put_if_absent(f"{self.key}/files/{digest}", path)
            index[path.relative_to(bundle).as_posix()] = digest
        self.store.write(f"{self.key}/{_INDEX}", to_json(index).encode())

    def has_bundle(self) -> bool:
        """Tell whether the nodes have left a whole bundle."""
        return self.store.size(f"{self.key}/{_INDEX}") is not None

    def fetch_bundle(self, folder: Path) -> None:
        """Fetch the bundle into the empty `folder`; PipelineError when it is not there, or not as it was."""
        index = self.store.read(f"{self.key}/{_INDEX}")
        if index is None:
            raise PipelineError(f"the nodes ended without leaving a model under {self.key}; see their log")
        for name, digest in json.loads(index).items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise PipelineError(f"{self.key}: the file name {name!r} leads out of the bundle")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(f"{self.key}/files/{digest}", target)
            if digest_file(target) != digest:
                raise PipelineError(f"{self.key}: {name} is not what the node wrote; run the step again")

    def remove(self) -> None:
        """Remove all of it."""
        for key in self.store.keys(self.key):
            self.store.delete(key)

    def _fetch(self, key: str, target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as beside:
            found = self.store.fetch(key, Path(beside))
            # A store that is a folder answers with its own file.
            if found.parent == Path(beside):
                found.replace(target)
            else:
                shutil.copyfile(found, target)
