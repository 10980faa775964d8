"""Where a server's archives come from: files that it was given, or an object store."""

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
    """Knows the archives of some models by name."""

    names: list[str]

    def fetch(self, name: str) -> tuple[Path, str]:
        """Return the archive that a name stands for now, as a local file, and its sha256."""


class FileSource:
    """Archives that are named on the command line; UserError when two are of one model."""

    def __init__(self, archives: Sequence[Path]) -> None:
        self._paths = {read_manifest(path).name: path.absolute() for path in archives}
        self.names = list(self._paths)
        if len(self.names) != len(archives):
            raise UserError(
                f"the archives hold {self.names}, and one of them twice; give one archive a model"
            )

    def fetch(self, name: str) -> tuple[Path, str]:
        """Return the file and what it holds now."""
        return self._paths[name], digest_file(self._paths[name])


class ObjectStoreSource:
    """Models of an object store, each by NAME, NAME@ALIAS or NAME@DIGEST; downloads lie in `folder`."""

    def __init__(self, store: ObjectStore, references: Sequence[str], folder: Path) -> None:
        self._store = store
        self._references = {name_of(reference): reference for reference in references}
        self._folder = folder
        self._fetched: dict[str, Path] = {}
        self.names = list(self._references)
        if len(self.names) != len(references):
            raise UserError(f"{', '.join(references)} name one model twice; give one version of each")

    def fetch(self, name: str) -> tuple[Path, str]:
        """Look up what the alias means now, and download it if the store is not on this machine."""
        pointer = find(self._store, self._references[name])
        path = self._store.fetch(pointer.key, self._folder)
        former = self._fetched.get(name)
        if former is not None and former != path and former.parent == self._folder:
            former.unlink(missing_ok=True)
        self._fetched[name] = path
        return path, pointer.digest


class PinnedSource:
    """What another source's names stood for when this was made, and for as long as its files are there."""

    def __init__(self, source: ArchiveSource) -> None:
        self.names = source.names
        self._found = {name: source.fetch(name) for name in source.names}

    def fetch(self, name: str) -> tuple[Path, str]:
        """Return what was fetched."""
        return self._found[name]
