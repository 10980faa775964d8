"""The holdout of a version that waits for approval, in the object store.

Approval evaluates the version again if the champion has changed. The pods and the files of the run may have
been deleted by then. The training rows are not needed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.checksums import CHECKSUMS
from continuous_training.artifacts.dataset_manifest import MANIFEST

_TRAINING_ROWS = "train.parquet"


def store_holdout(data: Path, store: ObjectStore, workload: str, run: str) -> None:
    """Copy the dataset in `data` without its training rows. The manifest is the last file."""
    prefix = _prefix(workload, run)
    if store.size(f"{prefix}/{MANIFEST}") is not None:
        return
    for path in sorted(data.iterdir()):
        if path.is_file() and path.name not in (_TRAINING_ROWS, CHECKSUMS, MANIFEST):
            store.put(f"{prefix}/{path.name}", path)
    if (data / CHECKSUMS).is_file():
        lines = (data / CHECKSUMS).read_text(encoding="utf-8").splitlines(keepends=True)
        remaining = [line for line in lines if line[66:].strip() != _TRAINING_ROWS]
        store.write(f"{prefix}/{CHECKSUMS}", "".join(remaining).encode())
    store.put(f"{prefix}/{MANIFEST}", data / MANIFEST)


def fetch_holdout(store: ObjectStore, workload: str, run: str, folder: Path) -> bool:
    """Copy the files of the stored dataset into `folder`. Return False if it is not complete."""
    prefix = _prefix(workload, run)
    if store.size(f"{prefix}/{MANIFEST}") is None:
        return False
    for key in store.keys(prefix):
        path = store.fetch(key, folder)
        if path.parent != folder:
            shutil.copyfile(path, folder / path.name)
    return True


def remove_holdout(store: ObjectStore, workload: str, run: str) -> None:
    """Remove the stored dataset, the manifest first: without it, the rest is not read."""
    prefix = _prefix(workload, run)
    store.delete(f"{prefix}/{MANIFEST}")
    for key in store.keys(prefix):
        store.delete(key)


def _prefix(workload: str, run: str) -> str:
    return f"approvals/{workload}/{run}"
