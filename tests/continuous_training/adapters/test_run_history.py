"""The run history: separate for each workload, and later writes replace earlier ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.processed_inputs_restore import restore_processed
from continuous_training.artifacts.run_record import (
    DataRecord,
    ProcessedInputs,
    RecordedRollback,
    RecordedVersion,
    RunRecord,
)
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import JsonObject


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


def test_the_record_of_a_requested_run_contains_its_caller(tmp_path: Path) -> None:
    history = RunHistory(FolderStore(tmp_path), "digits")
    trigger = RunTrigger("ci", "new labels, 새 라벨")
    history.write_trigger("run-1", trigger)
    for run in ("run-1", "run-2"):
        history.write_run(RunRecord(run=run, verdict="promoted"))
    assert [(record.run, record.trigger) for record in history.runs()] == [
        ("run-1", trigger),
        ("run-2", None),
    ]


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


DAMAGE = {
    "emptied": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "altered": lambda content: content.replace(b"promoted", b"qromoted"),
    "a missing field": lambda _: b'{"run": "run-1"}',
    "no text": lambda content: b"\xff" * len(content),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_reported_once_and_ignored(tmp_path: Path, damage: str) -> None:
    store, messages = FolderStore(tmp_path), list[str]()
    history = RunHistory(store, "digits", messages.append)
    intact, damaged = (RunRecord(run=f"run-{number}", verdict="promoted") for number in (1, 2))
    history.write_run(intact)
    history.write_run(damaged)
    key = "records/digits/runs/run-2.json"
    store.write(key, DAMAGE[damage](store.read(key) or b""))
    assert history.run("run-2") is None
    assert [record.run for record in history.runs()] == ["run-1"]
    (message,) = messages
    assert message.startswith("warning: a record in the object store is damaged and is ignored: ")
    assert key in message
    history.write_run(damaged)
    assert [record.run for record in history.runs()] == ["run-1", "run-2"]


def test_damaged_processed_inputs_are_restored_from_the_runs(tmp_path: Path) -> None:
    store, messages = FolderStore(tmp_path), list[str]()
    history = RunHistory(store, "digits", messages.append)
    rejected, first, second = (
        RunRecord(run=f"run-{number}", verdict=verdict, input_digest=f"digest-{number}", version=version)
        for number, (verdict, version) in enumerate(
            [("rejected", None), ("promoted", "1"), ("promoted", "2")]
        )
    )
    one, two = RecordedVersion("1"), RecordedVersion("2")
    rollback = RunRecord(
        run="back", verdict="rolled back", rollback=RecordedRollback(two, one, previous=None, user="")
    )
    for record in (rejected, first, second, rollback):
        history.write_run(record)
    expected = {
        "digest-0": ProcessedInputs(rejected),
        "digest-1": ProcessedInputs(first),
        "digest-2": ProcessedInputs(second).withdraw("back"),
    }
    for digest, processed in expected.items():
        key = f"records/digits/recipes/{digest}.json"
        store.write(key, b"")
        restored = history.find_processed(digest)
        assert restored is not None
        assert restored == ProcessedInputs.from_json(JsonObject(processed.to_json(), "expected"))
        assert messages[-1] == f"{key} was restored from the record of run {processed.record.run}"
        assert RunHistory(store, "digits").find_processed(digest) == restored, "the record is written again"
    store.write("records/digits/recipes/unknown.json", b"")
    assert history.find_processed("unknown") is None


def test_a_rollback_back_to_a_version_reinstates_its_inputs() -> None:
    promoted = [
        RunRecord(run=f"run-{version}", verdict="promoted", input_digest=version, version=version)
        for version in ("1", "2", "3")
    ]
    rollbacks = [
        RunRecord(
            run=f"to-{version}",
            verdict="rolled back",
            rollback=RecordedRollback(None, RecordedVersion(version), previous=None, user=""),
        )
        for version in ("1", "2")
    ]
    records = [*promoted, *rollbacks]
    withdrawals = {version: restore_processed(version, records) for version in ("1", "2", "3")}
    assert {v: p and p.withdrawal and p.withdrawal.run for v, p in withdrawals.items()} == {
        "1": None,
        "2": None,
        "3": "to-1",
    }
