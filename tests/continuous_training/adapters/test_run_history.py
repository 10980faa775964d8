"""The run history: separate for each workload, and later writes replace earlier ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_record import DataRecord, ProcessedInputs, RunRecord


def test_a_missing_record_is_none(tmp_path: Path) -> None:
    history = RunHistory(FolderStore(tmp_path), "digits")
    assert history.find_processed("recipe") is None
    assert history.run("run-1") is None


def test_results_and_runs_are_stored_for_each_workload(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    history = RunHistory(store, "digits")
    rejected = RunRecord(run="run-1", verdict="rejected", reasons=("schlechter, 나쁨",))
    history.record_processed("recipe", ProcessedInputs(rejected))
    history.write_run(RunRecord(run="run-1", verdict="failed"))
    history.write_run(rejected)
    assert history.find_processed("recipe") == ProcessedInputs(rejected)
    record = history.run("run-1")
    assert record is not None
    assert (record.run, record.verdict) == ("run-1", "rejected")
    assert datetime.fromisoformat(record.ended).utcoffset() is not None
    assert RunHistory(store, "diabetes").find_processed("recipe") is None
    assert store.keys("records") == ["records/digits/recipes/recipe.json", "records/digits/runs/run-1.json"]


def test_the_latest_record_of_the_data_is_returned(tmp_path: Path) -> None:
    history = RunHistory(FolderStore(tmp_path), "digits")
    assert history.data() is None
    first = DataRecord(
        run="run-1", as_of="2026-01-01", source="a.csv", fingerprint="a", rows={"train": 9}, statistics={}
    )
    history.write_data(first)
    history.write_data(replace(first, run="run-2", fingerprint="b"))
    record = history.data()
    assert record is not None
    assert (record.run, record.fingerprint) == ("run-2", "b")
    assert datetime.fromisoformat(record.when).utcoffset() is not None
    assert history.runs() == [], "the record of the data is not a run"


def test_a_damaged_record_is_an_error_with_file_and_field(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    history = RunHistory(store, "digits")
    store.write("records/digits/runs/run-1.json", b'{"run": "run-1"}')
    with pytest.raises(ArtifactError, match=r"^records/digits/runs/run-1\.json: verdict is missing"):
        history.run("run-1")
