"""A run on the sample data that comes with the code is marked as a trial."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.prep_data import step as prep_data
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import FolderStore
from workloads.contract import Workload

from .conftest import Line

Make = Callable[..., Workload]


@pytest.mark.parametrize(("source", "sample"), [("made:1000", True), ("made:900", False)])
def test_sample_data_is_marked_in_every_artifact(
    make: Make, registry: Registry, store: FolderStore, folder: Path, source: str, sample: bool
) -> None:
    line = Line(make(sample_source="made:1000"), registry, store, folder)
    archived = line.up_to_archive("run-1", source=source)
    parts = [("data", "dataset.json"), ("model", "model.json"), ("evaluation", "evaluation.json")]
    dataset, model, evaluation = (
        json.loads((folder / "run-1" / part / name).read_text()) for part, name in parts
    )
    assert dataset["sample"] == model["data"]["sample"] == evaluation["data"]["sample"] == sample
    assert any("a sample that comes with the code" in reason for reason in archived.reasons) == sample
    version = registry.find(line.workload.name, archived.digest)
    assert version is not None
    assert version.tags["sample"] == ("true" if sample else "false")
    report = (folder / "run-1/evaluation/report.html").read_text()
    assert ("<b>Sample data.</b> 1,000 rows" in report) == sample


def test_prep_data_reports_that_it_reads_a_sample(make: Make, tmp_path: Path) -> None:
    messages: list[str] = []
    prep_data.run(make(sample_source="made:1000"), {}, tmp_path / "data", progress=messages.append)
    assert messages[0] == "reading made:1000, a small sample for a trial"


def test_a_workload_without_sample_data(make: Make, tmp_path: Path) -> None:
    prep_data.run(make(), {}, tmp_path / "data")
    assert json.loads((tmp_path / "data/dataset.json").read_text())["sample"] is False
