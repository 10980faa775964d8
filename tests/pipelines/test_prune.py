"""Cleaning up: what is old goes, and nothing that is served or gone back to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from continuous_training.core.file_lock import held
from continuous_training.operations.lineage import PRUNED
from continuous_training.operations.retention import RUN_LOCK
from continuous_training.serving.process import daemon
from pipelines import prune, rollback, status, trace
from pipelines.prune import main

from . import champions
from .champions import NAME, PATIENT, State, call, told

ASK = ("--workload", NAME)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """For tests that remove nothing."""
    with champions.state(tmp_path_factory, "whole") as opened:
        yield opened


@pytest.fixture
def state(tmp_path_factory):
    """For one test alone, to remove things from."""
    with champions.state(tmp_path_factory, "prune") as opened:
        yield opened


def there(state: State) -> list[str]:
    """The versions whose archives are there."""
    return [v.version for v in state.registry.versions(NAME) if state.archive(int(v.version)).is_file()]


def folders(state: State) -> list[str]:
    return sorted(path.name for path in (state.folder / "runs").iterdir())


def test_nothing_goes_while_enough_is_kept_or_a_run_goes_on(whole: State, capsys):
    runs = whole.folder / "runs"
    (runs / "notes").mkdir()
    old = runs / "diabetes-20200101T000000-abcd"
    old.mkdir()
    with held(old / RUN_LOCK, within=0) as going_on:
        assert going_on
        out, _ = call(main, capsys, "--keep", "3")
        assert "kept of diabetes: 3 archives, 4 run folders, 3 data snapshots" in out
        assert "nothing to remove" in out
    assert there(whole) == ["1", "2", "3"]
    assert len(folders(whole)) == 5
    out, _ = call(main, capsys, "--keep", "3")
    assert f"removed  runs/{old.name}" in out, "whatever ended it, it does not go on any more"
    assert (runs / "notes").is_dir()


def test_two_who_change_things_at_once_do_not_trip_over_each_other(whole: State, capsys, monkeypatch):
    monkeypatch.setattr(prune, "PATIENCE", 0)
    with held(whole.folder / "rollouts" / f"{NAME}.lock", within=0) as mine:
        assert mine
        for verb, arguments in ((main, ("--keep", "1")), (rollback.main, ASK)):
            _, said = call(verb, capsys, *arguments, expect=75)
            assert "another rollout, rollback or prune of diabetes is going on" in said
    assert there(whole) == ["1", "2", "3"]


def test_when_it_is_unknown_what_is_served_nothing_goes(whole: State, capsys):
    models = whole.folder / "serving" / "models.json"
    text = models.read_text()
    models.write_text("[1]")
    try:
        _, said = call(main, capsys, "--keep", "1", expect=2)
        assert "cannot be read" in said
        assert there(whole) == ["1", "2", "3"]
    finally:
        models.write_text(text)


def test_by_its_command_line(whole: State):
    done = champions.python("pipelines.prune", "--keep", "1", "--dry-run", "--state", str(whole.folder))
    assert "would remove 1 archive, 1 run folder, 1 data snapshot; " in done.stdout
    assert there(whole) == ["1", "2", "3"]


def test_what_is_old_goes_and_can_still_be_traced(state: State, capsys):
    """Version 1 is behind by two: with --keep 1 it goes, and the folder of its run."""
    running = daemon.start(state.folder)
    first, second, rejected = folders(state)
    planned = told(main, capsys, "--keep", "1", "--dry-run")
    assert planned["verdict"] == "planned"
    assert there(state) == ["1", "2", "3"]
    assert folders(state) == [first, second, rejected]

    pruned = told(main, capsys, "--keep", "1")
    assert pruned["removed"] == planned["removed"]
    assert [pruned[key] for key in ("archives", "runs", "snapshots")] == [1, 1, 1]
    assert pruned["bytes"] == sum(row["bytes"] for row in pruned["removed"]) > 10_000
    assert [row["version"] or row["name"] for row in pruned["removed"]] == ["1", f"runs/{first}"]
    assert there(state) == ["2", "3"]
    assert folders(state) == [second, rejected]

    one = state.registry.versions(NAME)[0]
    assert json.loads(one.tags[PRUNED])["data"]["rows"] == 220
    _, said = call(rollback.main, capsys, *ASK, "--to", "1", expect=2)
    assert "was removed by pipelines.prune. Nothing was changed: the registry's champion is version 3" in said
    found = told(trace.main, capsys, one.digest[:12])
    assert (found["version"], found["data"]["rows"]) == ("1", {"train": 220, "holdout": 222})
    assert found["parameters"]["features"] == "bmi"
    assert found["archive"]["pruned"]
    assert "removed by pipelines.prune" in call(trace.main, capsys, one.digest[:12])[0]

    out, _ = call(main, capsys, "--keep", "1")
    assert "nothing to remove" in out
    _still_all_right(state, running.url, capsys)


def _still_all_right(state: State, url: str, capsys) -> None:
    """The endpoint answers after a restart too, rollback goes back, and status agrees."""
    assert requests.post(f"{url}/predict/{NAME}", json=PATIENT, timeout=10).ok
    daemon.stop(state.folder)
    daemon.start(state.folder)
    assert told(status.main, capsys)["workloads"][0]["agree"] is True
    assert told(rollback.main, capsys, *ASK)["to"]["version"] == "2"


def test_all_that_is_needed_stays_whatever_its_age(state: State, capsys):
    daemon.start(state.folder)
    for note in ("a", "b", "c"):
        champions.promote_another(state.folder, state.registry, note)
    # Now 6 is served and 5 behind it; 1 is the challenger, and 3 is what a stopped server would load.
    state.registry.point(NAME, CHALLENGER, "1", "by a test", "no run")
    models = state.folder / "serving" / "models.json"
    before = models.read_text()
    daemon.stop(state.folder)
    named = json.loads(before)
    named[NAME]["digest"] = state.digests[2]
    models.write_text(json.dumps(named))
    assert state.aliases == {CHAMPION: "6", PREVIOUS: "5", CHALLENGER: "1"}
    out, _ = call(main, capsys, *ASK, "--keep", "1")
    assert there(state) == ["1", "3", "5", "6"]
    assert "removed  version 2: archives/diabetes/" in out
    assert "kept of diabetes: 4 archives" in out

    models.write_text(before)
    call(main, capsys, *ASK, "--keep", "1")
    assert there(state) == ["1", "5", "6"]


def test_the_way_back_stays_even_when_it_is_older_than_the_newest(state: State, capsys):
    """Rolled back to 1, the newest are 2 and 3; a champion is never old."""
    assert rollback.main([*ASK, "--to", "1"]) == 0
    for note in ("a", "b"):
        champions.add_another(state.folder, state.registry, note)
    call(main, capsys, *ASK, "--keep", "1")
    assert there(state) == ["1", "5"]
    assert state.served() == state.digests[0]


@pytest.mark.parametrize("keep", ["0", "-1", "few"])
def test_keeping_nothing_is_refused(tmp_path: Path, capsys, keep):
    if keep == "0":
        _, said = call(main, capsys, "--keep", keep, "--state", str(tmp_path / "none"), expect=2)
    else:
        with pytest.raises(SystemExit, match="2"):
            main(["--keep", keep])
        said = capsys.readouterr().err
    assert "1 or more" in said


def test_where_nothing_was_ever_run_there_is_nothing_to_remove(tmp_path: Path, capsys):
    out, _ = call(main, capsys, "--keep", "1", "--state", str(tmp_path / "none"))
    assert "nothing to remove" in out
    _, said = call(main, capsys, "--workload", "nothere", "--keep", "1", expect=2)
    assert "registered are" in said
    assert not (tmp_path / "none").exists()
