"""The rows of the target environment on which a transferred version is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.prune_selection import in_record_order, run_folders
from workloads.contract import Workload

from .environment import Address
from .target_approval import with_target_approval

HOLDOUT = "holdout.parquet"
_TRAINING_ROWS = "train.parquet"


@dataclass(frozen=True)
class TargetData:
    """A dataset of the target, and its address without credentials."""

    dataset: Dataset
    address: str

    def __str__(self) -> str:
        return f"{self.dataset.manifest.holdout.rows:,} holdout rows of {self.address}"


def find_target_data(
    workload: Workload, settings: Settings, uri: str | None, folder: Path
) -> TargetData | None:
    """Return the data of `uri`, or those of the target's last local run that prepared rows.

    `uri` is a folder or an s3:// address with the output of prep-data; its files may be downloaded to
    `folder`. Returns None if there is neither.
    """
    name = workload.name
    data = _open(uri, settings, folder) if uri else _last_run(name, settings)
    if data is None:
        return None
    dataset = data.dataset
    if dataset.workload != name:
        raise UserError(f"{data.address} contains data of the workload {dataset.workload}, not of {name}")
    # A reason for which a person accepted an earlier challenger does not apply to this version.
    parameters = {key: value for key, value in dataset.manifest.parameters.items() if key != "accept"}
    parameters = with_target_approval(parameters, workload, from_target=True)
    manifest = replace(dataset.manifest, parameters=parameters)
    return replace(data, dataset=replace(dataset, manifest=manifest))


def _last_run(name: str, settings: Settings) -> TargetData | None:
    folders = run_folders(settings.state / "runs", name)
    if not folders:
        return None
    records = RunHistory(open_store(settings.store, settings.store_access), name).runs()
    ordered = in_record_order(folders, records)
    paths = [path for run in ordered for path in run.path.glob(f"artifacts/*/prep-data/data/{HOLDOUT}")]
    return TargetData(Dataset.open(paths[-1].parent), str(paths[-1].parent)) if paths else None


def _open(uri: str, settings: Settings, folder: Path) -> TargetData:
    """Return the dataset in a folder, or in a copy of an s3:// address without the training rows."""
    address = Address.parse(uri)
    if not address.uri.startswith("s3://"):
        path = Path(address.uri)
    else:
        store, path = open_store(address.uri, address.access or settings.store_access), folder
        for key in store.keys(""):
            if "/" not in key and key != _TRAINING_ROWS:
                store.fetch(key, folder)
    if not (path / HOLDOUT).is_file():
        raise UserError(
            f"--to-data {address.uri} contains no {HOLDOUT}: pass the output of the prep-data step of a run "
            "that did not end as unchanged"
        )
    return TargetData(Dataset.open(path), address.uri)
