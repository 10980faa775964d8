"""The archive of a package: a file, or a version in the object store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_store import find, name_of
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.archive_manifest import ArchiveManifest
from continuous_training.artifacts.archive_reader import unpack
from continuous_training.core.digest import digest_file
from continuous_training.serving.process.fetch import fetch


@dataclass(frozen=True)
class PackageArchive:
    """A verified archive, its sha256, and the run that set its alias (empty for a file and a digest)."""

    path: Path
    digest: str
    manifest: ArchiveManifest
    run: str = ""


def archive_of_file(path: Path, folder: Path) -> PackageArchive:
    """Copy the archive to `folder` and verify each of its files. Raises ArchiveError if it is damaged."""
    copy = Path(shutil.copyfile(path, folder / "model.mar"))
    digest = digest_file(copy)
    # The file of the user is unpacked, so that an error names it.
    return PackageArchive(copy, digest, unpack(path, folder / "unpacked", digest))


def archive_of_model(store: str, reference: str, folder: Path) -> PackageArchive:
    """Download the archive of NAME[@ALIAS] to `folder` and verify it.

    Raises UserError if the store does not have it, and ArchiveError if it is damaged.
    """
    pointer = find(open_store(store), reference)
    # By digest, because the alias may move in the meantime.
    path = fetch(store, f"{name_of(reference)}@{pointer.digest}", folder)
    digest = digest_file(path)
    return PackageArchive(path, digest, unpack(path, folder / "unpacked", digest), pointer.run)
