"""Sources of the archives that a server loads: local files or an object store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from continuous_training.adapters.model_store import find, name_of
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.archive_reader import read_manifest
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError


class ArchiveSource(Protocol):
    """Returns the archives of the models in `names`."""

    names: list[str]

    def fetch(self, name: str) -> tuple[Path, str]:
        """Return the current archive of a model as a local file, and its SHA-256 digest."""


class FileSource:
    """Archives in local files, one per model. UserError if two files contain the same model."""

    def __init__(self, archives: Sequence[Path]) -> None:
        self._paths = {read_manifest(path).name: path.absolute() for path in archives}
        self.names = list(self._paths)
        if len(self.names) != len(archives):
            raise UserError(
                f"two archives contain the same model (models: {self.names}); pass one archive per model"
            )

    def fetch(self, name: str) -> tuple[Path, str]:
        """Return the file and the digest of its current content."""
        return self._paths[name], digest_file(self._paths[name])


class ObjectStoreSource:
    """Archives in an object store. `folder` holds the downloads.

    A reference is NAME, NAME@ALIAS or NAME@DIGEST. UserError if two references are for the same model.
    """

    def __init__(self, store: ObjectStore, references: Sequence[str], folder: Path) -> None:
        self._store = store
        self._references = {name_of(reference): reference for reference in references}
        self._folder = folder
        self._downloads: dict[str, Path] = {}
        self.names = list(self._references)
        if len(self.names) != len(references):
            raise UserError(
                f"two references are for the same model ({', '.join(references)}); pass one version per model"
            )

    def fetch(self, name: str) -> tuple[Path, str]:
        """Resolve the alias and return its archive, which is downloaded if the store is remote.

        The model's previous download is deleted.
        """
        pointer = find(self._store, self._references[name])
        path = self._store.fetch(pointer.key, self._folder)
        previous = self._downloads.get(name)
        if previous is not None and previous != path and previous.parent == self._folder:
            previous.unlink(missing_ok=True)
        self._downloads[name] = path
        return path, pointer.digest


class PinnedSource:
    """The archives that another source returned when this object was created."""

    def __init__(self, source: ArchiveSource) -> None:
        self.names = source.names
        self._archives = {name: source.fetch(name) for name in source.names}

    def fetch(self, name: str) -> tuple[Path, str]:
        """Return the stored file and digest."""
        return self._archives[name]
