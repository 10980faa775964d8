"""Archives in the object store, whose keys contain the sha256 of their content."""

from __future__ import annotations

import tempfile
from pathlib import Path

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.digest import digest_file
from continuous_training.core.progress import Progress


def archive_problem(store: ObjectStore, key: str, digest: str) -> str | None:
    """Return the defect of the archive, or None if it is intact. The text continues "the archive ..."."""
    if store.size(key) is None:
        return "is missing"
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        intact = digest_file(store.fetch(key, Path(folder))) == digest
    return None if intact else "was altered"


def put_archive(store: ObjectStore, key: str, path: Path, digest: str, progress: Progress) -> None:
    """Store the archive in the file `path` unless the store has it. Replace and report an altered one."""
    problem = archive_problem(store, key, digest)
    if problem is None:
        return
    store.put(key, path)
    if problem != "is missing":
        progress(f"the archive {key} in the object store {problem}; it was replaced")
