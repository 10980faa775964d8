"""The command prune: old archives and run folders are removed, and no version that is still needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from continuous_training.core.file_lock import hold_lock
from continuous_training.core.temporary_files import temporary_file
from continuous_training.operations import prune
from continuous_training.operations.lineage import PRUNED
from continuous_training.operations.prune_selection import RUN_LOCK
from continuous_training.serving.process import daemon
from pipelines import rollback, status, trace
from pipelines.prune import main

from . import champions
from .champions import NAME, PATIENT, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def shared_state(tmp_path_factory):
    """A state directory for tests that remove nothing."""
    with champions.copy_state(tmp_path_factory, "shared") as opened:
        yield opened


@pytest.fixture
def state(tmp_path_factory):
    """A state directory for one test, which removes archives and folders."""
    with champions.copy_state(tmp_path_factory, "prune") as opened:
        yield opened


def stored_versions(state: ChampionState) -> list[str]:
    """Return the versions whose archives are in the store."""
    return [v.version for v in state.registry.versions(NAME) if state.archive(int(v.version)).is_file()]


def run_folders(state: ChampionState) -> list[str]:
    return sorted(path.name for path in (state.folder / "runs").iterdir())


def test_nothing_is_removed_if_nothing_is_old_or_a_run_is_active(shared_state: ChampionState, capsys):
    runs = shared_state.folder / "runs"
    (runs / "notes").mkdir()
    old = runs / "diabetes-20200101T000000-abcd"
    old.mkdir()
    with hold_lock(old / RUN_LOCK, timeout=0) as acquired:
        assert acquired
        out, _ = run_command(main, capsys, "--keep", "3")
        assert "kept of diabetes: 3 archives, 4 run folders, 3 data snapshots" in out
        assert "nothing to remove" in out
    assert stored_versions(shared_state) == ["1", "2", "3"]
    assert len(run_folders(shared_state)) == 5
    out, _ = run_command(main, capsys, "--keep", "3")
    assert f"removed  runs/{old.name}" in out, "the run no longer holds its lock"
    assert (runs / "notes").is_dir()


def test_leftovers_of_killed_processes_are_counted_and_removed(state: ChampionState, capsys):
    """A running process keeps its files."""
    store = state.folder / "store" / "archives"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from continuous_training.core.temporary_files import TemporaryFolder\n"
        "folder = TemporaryFolder(Path(sys.argv[1]), 'unpacked')\n"
        "(folder.path / 'weights').write_bytes(bytes(5000))\n"
        "print(folder.path, flush=True); os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code, str(store)]
    run = subprocess.run(command, cwd=champions.ROOT, capture_output=True, text=True)
    assert run.returncode == -9, run.stderr
    leftover = Path(run.stdout.strip())
    name = str(leftover.relative_to(state.folder))
    with temporary_file(store / "active.mar") as active:
        planned = run_json(main, capsys, "--keep", "3", "--dry-run")
        assert leftover.is_dir()
        assert (planned["verdict"], planned["leftovers"], planned["bytes"]) == ("planned", 1, 5000)
        assert [(item["name"], item["bytes"]) for item in planned["removed"]] == [(name, 5000)]
        out, _ = run_command(main, capsys, "--keep", "3")
        assert f"removed  {name}  " in out
        assert "0 data snapshots, 1 leftover file;" in out
        assert not leftover.exists()
        assert active.is_file()
        assert run_json(main, capsys, "--keep", "3")["leftovers"] == 0


def test_prune_and_rollback_wait_for_the_lock_of_rollouts(shared_state: ChampionState, capsys, monkeypatch):
    monkeypatch.setattr(prune, "LOCK_TIMEOUT", 0)
    with hold_lock(shared_state.folder / "rollouts" / f"{NAME}.lock", timeout=0) as acquired:
        assert acquired
        for command, arguments in ((main, ("--keep", "1")), (rollback.main, WORKLOAD)):
            _, error = run_command(command, capsys, *arguments, expect=75)
            assert "another rollout, rollback or prune of diabetes is in progress" in error
    assert stored_versions(shared_state) == ["1", "2", "3"]


def test_nothing_is_removed_if_the_served_versions_are_unknown(shared_state: ChampionState, capsys):
    models = shared_state.folder / "serving" / "models.json"
    text = models.read_text()
    models.write_text("[1]")
    try:
        _, error = run_command(main, capsys, "--keep", "1", expect=2)
        assert "the served versions are unknown" in error
        assert stored_versions(shared_state) == ["1", "2", "3"]
    finally:
        models.write_text(text)


def test_prune_as_a_process(shared_state: ChampionState):
    result = champions.run_module(
        "pipelines.prune", "--keep", "1", "--dry-run", "--state", str(shared_state.folder)
    )
    assert "would remove 1 archive, 1 run folder, 1 data snapshot; " in result.stdout
    assert stored_versions(shared_state) == ["1", "2", "3"]


def test_a_pruned_version_can_still_be_traced(state: ChampionState, capsys):
    """With --keep 1, the archive of version 1 and the folder of its run are removed."""
    running = daemon.start(state.folder)
    first, second, rejected = run_folders(state)
    planned = run_json(main, capsys, "--keep", "1", "--dry-run")
    assert planned["verdict"] == "planned"
    assert stored_versions(state) == ["1", "2", "3"]
    assert run_folders(state) == [first, second, rejected]

    pruned = run_json(main, capsys, "--keep", "1")
    assert pruned["removed"] == planned["removed"]
    assert [pruned[key] for key in ("archives", "runs", "snapshots")] == [1, 1, 1]
    assert pruned["bytes"] == sum(row["bytes"] for row in pruned["removed"]) > 10_000
    assert [row["version"] or row["name"] for row in pruned["removed"]] == ["1", f"runs/{first}"]
    assert stored_versions(state) == ["2", "3"]
    assert run_folders(state) == [second, rejected]

    version = state.registry.versions(NAME)[0]
    assert json.loads(version.tags[PRUNED])["data"]["rows"] == 220
    _, error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "1", expect=2)
    assert (
        "was removed by pipelines.prune. Nothing was changed: the registry's champion is version 3" in error
    )
    trace_result = run_json(trace.main, capsys, version.digest[:12])
    assert (trace_result["version"], trace_result["data"]["rows"]) == ("1", {"train": 220, "holdout": 222})
    assert trace_result["parameters"]["features"] == "bmi"
    assert trace_result["archive"]["pruned"]
    assert "removed by pipelines.prune" in run_command(trace.main, capsys, version.digest[:12])[0]

    out, _ = run_command(main, capsys, "--keep", "1")
    assert "nothing to remove" in out
    _check_serving_and_rollback(state, running.url, capsys)


def _check_serving_and_rollback(state: ChampionState, url: str, capsys) -> None:
    """The endpoint answers, also after a restart; status agrees, and a rollback is possible."""
    assert requests.post(f"{url}/predict/{NAME}", json=PATIENT, timeout=10).ok
    daemon.stop(state.folder)
    daemon.start(state.folder)
    assert run_json(status.main, capsys)["workloads"][0]["agree"] is True
    assert run_json(rollback.main, capsys, *WORKLOAD)["to"]["version"] == "2"


def test_needed_versions_are_kept_independent_of_age(state: ChampionState, capsys):
    daemon.start(state.folder)
    for note in ("a", "b", "c"):
        champions.promote_another(state.folder, state.registry, note)
    # Version 6 is served, 5 is the previous one, 1 the challenger, and a restart of the server loads 3.
    state.registry.move_alias(NAME, CHALLENGER, "1", "by a test", "no run")
    models = state.folder / "serving" / "models.json"
    before = models.read_text()
    daemon.stop(state.folder)
    persisted = json.loads(before)
    persisted[NAME]["digest"] = state.digests[2]
    models.write_text(json.dumps(persisted))
    assert state.aliases == {CHAMPION: "6", PREVIOUS: "5", CHALLENGER: "1"}
    out, _ = run_command(main, capsys, *WORKLOAD, "--keep", "1")
    assert stored_versions(state) == ["1", "3", "5", "6"]
    assert "removed  version 2: archives/diabetes/" in out
    assert "kept of diabetes: 4 archives" in out

    models.write_text(before)
    run_command(main, capsys, *WORKLOAD, "--keep", "1")
    assert stored_versions(state) == ["1", "5", "6"]


def test_the_champion_is_kept_if_newer_versions_exist(state: ChampionState, capsys):
    """After a rollback to version 1, newer versions are registered and not promoted."""
    assert rollback.main([*WORKLOAD, "--to", "1"]) == 0
    for note in ("a", "b"):
        champions.add_another(state.folder, state.registry, note)
    run_command(main, capsys, *WORKLOAD, "--keep", "1")
    assert stored_versions(state) == ["1", "5"]
    assert state.served_digest() == state.digests[0]


@pytest.mark.parametrize("keep", ["0", "-1", "few"])
def test_keep_must_be_positive(tmp_path: Path, capsys, keep):
    if keep == "0":
        _, error = run_command(main, capsys, "--keep", keep, "--state", str(tmp_path / "none"), expect=2)
    else:
        with pytest.raises(SystemExit, match="2"):
            main(["--keep", keep])
        error = capsys.readouterr().err
    assert "1 or more" in error


def test_prune_creates_nothing_in_an_empty_state_directory(tmp_path: Path, capsys):
    out, _ = run_command(main, capsys, "--keep", "1", "--state", str(tmp_path / "none"))
    assert "nothing to remove" in out
    _, error = run_command(main, capsys, "--workload", "nothere", "--keep", "1", expect=2)
    assert "registered are" in error
    assert not (tmp_path / "none").exists()
