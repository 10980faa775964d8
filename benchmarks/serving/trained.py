"""An archive of a workload, trained here with its defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.dataset import Dataset
from components.prep_data.step import run as prepare
from components.train.step import run as train
from serving import archive
from serving.model import load_model
from workloads import register

GOLDEN = 64


def trained(name: str, cache: Path) -> Path:
    """Prepare, train and archive a workload below `cache`; returns the archive."""
    workload, folder = register.get(name), cache / name
    shutil.rmtree(folder, ignore_errors=True)
    prepare(workload, {}, folder / "data")
    train(workload, {}, folder / "data", folder / "model")
    model, holdout = load_model(folder / "model"), Dataset.open(folder / "data").read("holdout")
    requests = [workload.request(holdout.slice(row, 1)) for row in range(min(GOLDEN, holdout.num_rows))]
    golden = [{"request": request, "answer": model.predict(request)} for request in requests]
    return archive.write(folder / "model", folder / "store", golden=golden, provenance={}).path
