"""The record of runs: kept a workload apart, and the last word counts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory


def test_what_was_never_recorded_is_none(tmp_path: Path) -> None:
    records = RunHistory(FolderStore(tmp_path), "digits")
    assert records.judged("recipe") is None
    assert records.run("run-1") is None


def test_recipes_and_runs_are_remembered_a_workload_apart(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    records = RunHistory(store, "digits")
    records.settle("recipe", {"run": "run-1", "verdict": "rejected", "reasons": ["schlechter, 나쁨"]})
    records.write_run("run-1", {"verdict": "failed"})
    records.write_run("run-1", {"verdict": "rejected"})
    assert records.judged("recipe") == {
        "run": "run-1",
        "verdict": "rejected",
        "reasons": ["schlechter, 나쁨"],
    }
    found = records.run("run-1")
    assert found is not None
    assert (found["run"], found["verdict"]) == ("run-1", "rejected")
    assert datetime.fromisoformat(found["ended"]).utcoffset() is not None
    assert RunHistory(store, "diabetes").judged("recipe") is None
    assert store.keys("records") == ["records/digits/recipes/recipe.json", "records/digits/runs/run-1.json"]


def test_of_the_data_the_newest_word_counts(tmp_path: Path) -> None:
    records = RunHistory(FolderStore(tmp_path), "digits")
    assert records.data() is None
    records.write_data("run-1", {"fingerprint": "a"})
    records.write_data("run-2", {"fingerprint": "b"})
    found = records.data()
    assert found is not None
    assert (found["run"], found["fingerprint"]) == ("run-2", "b")
    assert datetime.fromisoformat(found["when"]).utcoffset() is not None
    assert records.runs() == [], "what the data looks like is no run"
