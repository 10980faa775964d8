"""prune: which archives and run folders are old. The tests share a registry; each has its own workload."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.model_registry import CHALLENGER, PREVIOUS, ROLLBACK, Registry
from continuous_training.adapters.object_store import FolderStore
from continuous_training.core.file_lock import hold_lock
from continuous_training.operations.lineage import PRUNED
from continuous_training.operations.prune_selection import RUN_LOCK
from pipelines.prune import main
from tests.registry import run_registry

from .champions import run_command, run_json


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with run_registry(tmp_path_factory.mktemp("registry")) as opened:
        yield opened


class Workload:
    """A workload with registered versions, whose archives have 100 bytes more from version to version."""

    def __init__(self, name: str, state: Path, registry: Registry) -> None:
        self.name, self.registry = name, registry
        self.runs, self.store = state / "runs", FolderStore(state / "store")

    def add(self, run: str = "", *, promote: bool = False, kind: str = "") -> str:
        number = len(self.registry.versions(self.name)) + 1
        key = f"archives/{self.name}/{number}.mar"
        self.store.write(key, bytes(100 * number))
        tags = {"archive_digest": f"{self.name} {number}", "archive_key": key, "pipeline_run": run}
        version = self.registry.register(self.name, self.registry.run(self.name, run or key), tags)
        if promote:
            self.move("champion", version.version, kind)
        return version.version

    def move(self, alias: str, version: str, kind: str = "") -> None:
        self.registry.move_alias(self.name, alias, version, "a test", "no run", kind=kind)

    def add_run(self, number: int, snapshots: int = 1) -> str:
        run = f"{self.name}-2025010{number}T000000-ab{number}"
        for step in range(snapshots):
            data = self.runs / run / "artifacts" / f"run {step}" / "prep-data" / "data"
            data.mkdir(parents=True)
            (data / "train.parquet").write_bytes(bytes(10))
            (data / "holdout.parquet").write_bytes(bytes(5))
        (self.runs / run).mkdir(parents=True, exist_ok=True)
        return run

    def stored(self) -> list[int]:
        names = (key.rpartition("/")[2] for key in self.store.keys(f"archives/{self.name}"))
        return sorted(int(name.removesuffix(".mar")) for name in names)


@pytest.fixture
def workload(name: str, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Workload:
    monkeypatch.setenv("CT_STATE", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.delenv("CT_STORE", raising=False)
    return Workload(name, tmp_path, registry)


Prune = Callable[..., dict[str, Any]]


@pytest.fixture
def prune(workload: Workload, capsys: pytest.CaptureFixture[str]) -> Prune:
    def prune(*arguments: str) -> dict[str, Any]:
        return run_json(main, capsys, "--workload", workload.name, *arguments)

    return prune


def test_the_newest_versions_remain_and_the_old_ones_are_removed(workload: Workload, prune: Prune) -> None:
    for _ in range(4):
        workload.add()
    planned = prune("--keep", "3", "--dry-run")
    assert (planned["verdict"], planned["archives"], planned["bytes"]) == ("planned", 1, 100)
    assert workload.stored() == [1, 2, 3, 4]
    pruned = prune("--keep", "2")
    assert (pruned["verdict"], pruned["archives"], pruned["runs"], pruned["snapshots"]) == ("pruned", 2, 0, 0)
    assert pruned["bytes"] == 300
    assert [(row["version"], row["name"], row["bytes"]) for row in pruned["removed"]] == [
        ("1", f"archives/{workload.name}/1.mar", 100),
        ("2", f"archives/{workload.name}/2.mar", 200),
    ]
    assert pruned["kept"] == {workload.name: {"archives": 2, "runs": 0, "snapshots": 0}}
    assert workload.stored() == [3, 4]
    versions = workload.registry.versions(workload.name)
    assert [json.loads(v.tags[PRUNED])["bytes"] for v in versions if PRUNED in v.tags] == [100, 200]
    again = prune("--keep", "2")
    assert (again["removed"], again["archives"], again["bytes"]) == ([], 0, 0)
    assert again["kept"] == {workload.name: {"archives": 2, "runs": 0, "snapshots": 0}}


def test_the_versions_of_the_rollback_path_remain(workload: Workload, prune: Prune) -> None:
    """With --keep 1, a rollback to the champion before the champion is possible."""
    for promoted in (True, True, True, False, False):
        workload.add(promote=promoted)
    prune("--keep", "1")
    assert workload.stored() == [2, 3, 5]


def test_with_keep_2_two_rollbacks_are_possible(workload: Workload, prune: Prune) -> None:
    for promoted in (True, True, True, True, False, False):
        workload.add(promote=promoted)
    prune("--keep", "2")
    assert workload.stored() == [2, 3, 4, 5, 6]


def test_the_versions_after_a_rollback_are_not_on_the_path(workload: Workload, prune: Prune) -> None:
    for _ in range(4):
        workload.add(promote=True)
    workload.move("champion", "2", ROLLBACK)
    prune("--keep", "1")
    assert workload.stored() == [1, 2, 4]


def test_versions_with_an_alias_remain(workload: Workload, prune: Prune) -> None:
    for _ in range(5):
        workload.add()
    workload.move(CHALLENGER, "1")
    workload.move(PREVIOUS, "3")
    prune("--keep", "1")
    assert workload.stored() == [1, 3, 5]


def test_a_version_whose_archive_is_missing_is_not_counted(workload: Workload, prune: Prune) -> None:
    for _ in range(3):
        workload.add()
    workload.store.delete(f"archives/{workload.name}/1.mar")
    pruned = prune("--keep", "1")
    assert [row["version"] for row in pruned["removed"]] == ["2"]
    assert pruned["kept"][workload.name]["archives"] == 1


def test_run_folders_are_removed_with_their_snapshots(workload: Workload, prune: Prune) -> None:
    runs = [
        workload.add_run(number, snapshots) for number, snapshots in ((1, 2), (2, 0), (3, 1), (4, 1), (5, 1))
    ]
    workload.add()
    pruned = prune("--keep", "3")
    assert [(row["name"], row["runs"], row["snapshots"], row["bytes"]) for row in pruned["removed"]] == [
        (f"runs/{runs[0]}", 1, 2, 30),
        (f"runs/{runs[1]}", 1, 0, 0),
    ]
    assert (pruned["archives"], pruned["runs"], pruned["snapshots"], pruned["bytes"]) == (0, 2, 2, 30)
    assert pruned["kept"] == {workload.name: {"archives": 1, "runs": 3, "snapshots": 3}}
    assert sorted(path.name for path in workload.runs.iterdir()) == runs[2:]


def test_fewer_run_folders_than_keep_remain(workload: Workload, prune: Prune) -> None:
    workload.add()
    for number in (1, 2, 3):
        workload.add_run(number)
    assert prune("--keep", "5")["removed"] == []
    assert prune("--keep", "3")["removed"] == []


def test_the_folder_of_a_needed_version_and_of_an_active_run_remain(workload: Workload, prune: Prune) -> None:
    runs = [workload.add_run(number) for number in (1, 2, 3, 4)]
    workload.add(runs[0], promote=True)
    with hold_lock(workload.runs / runs[1] / RUN_LOCK, timeout=0) as acquired:
        assert acquired
        pruned = prune("--keep", "1")
    assert [row["name"] for row in pruned["removed"]] == [f"runs/{runs[2]}"]
    assert [row["name"] for row in prune("--keep", "1")["removed"]] == [f"runs/{runs[1]}"]


def test_only_the_folders_of_the_workload_are_removed(
    workload: Workload, prune: Prune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workload.add()
    old, new = workload.add_run(1), workload.add_run(2)
    (workload.runs / "other-20250101T000000-ab").mkdir()
    (workload.runs / f"{workload.name}-notes").mkdir()
    (workload.runs / f"{workload.name}-20240101T000000-ab").write_text("a file")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = workload.runs / f"{workload.name}-20240102T000000-ab"
    link.symlink_to(elsewhere)
    assert [row["name"] for row in prune("--keep", "1")["removed"]] == [f"runs/{old}"]
    assert {path.name for path in workload.runs.iterdir()} == {
        new,
        "other-20250101T000000-ab",
        f"{workload.name}-notes",
        f"{workload.name}-20240101T000000-ab",
        link.name,
    }
    assert elsewhere.is_dir()
    _, error = run_command(main, capsys, "--keep", "1", expect=2)
    assert "other" in error


def test_without_a_name_all_workloads_are_pruned(
    workload: Workload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Workload(f"{workload.name}x", tmp_path, workload.registry)
    for each in (workload, other):
        for _ in range(2):
            each.add()
    runs = [Workload("digits", tmp_path, workload.registry).add_run(number) for number in (1, 2)]
    pruned = run_json(main, capsys, "--keep", "1")
    assert (workload.stored(), other.stored()) == ([2], [2])
    assert {row["workload"] for row in pruned["removed"]} >= {workload.name, other.name, "digits"}
    assert [path.name for path in workload.runs.iterdir()] == runs[1:]
    assert {workload.name, other.name, "digits"} <= pruned["kept"].keys()


def test_the_tag_is_written_before_the_archive_is_removed(
    workload: Workload, prune: Prune, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the tag, a removed archive would look like a lost one."""
    for _ in range(2):
        workload.add()

    def delete(self: FolderStore, key: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FolderStore, "delete", delete)
    with pytest.raises((KeyboardInterrupt, SystemExit, AssertionError)):
        prune("--keep", "1")
    assert workload.stored() == [1, 2]
    assert PRUNED in workload.registry.versions(workload.name)[0].tags
