"""What is served, and whether endpoint and registry say the same."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from components.prep_data.__main__ import in_pipeline
from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.core.parameters import to_lines
from continuous_training.serving.process import daemon
from pipelines import rollback
from pipelines.status import main
from workloads import discovery

from . import champions
from .champions import NAME, State, call, told

ASK = ("--workload", NAME)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with champions.state(tmp_path_factory, "status") as opened:
        daemon.start(opened.folder)
        yield opened


def row(capsys) -> dict:
    """The workload's part of the status."""
    return told(main, capsys, *ASK)["workloads"][0]


def test_what_is_served_and_where_it_comes_from(state: State, capsys):
    assert rollback.main([*ASK, "--why", "to be seen"]) == 0
    status = told(main, capsys)
    assert status["server"]["url"].startswith("http://127.0.0.1:")
    found = status["workloads"][0]
    champion, two = found["champion"], state.digests[1]
    assert found["endpoint"] == f"{status['server']['url']}/predict/{NAME}"
    assert (found["served"]["version"], found["served"]["digest"]) == ("2", two)
    assert (champion["version"], champion["digest"], found["previous"]) == ("2", two, "1")
    assert (champion["by"]["kind"], champion["by"]["why"]) == ("rollback", "to be seen")
    assert champion["data"]["rows"] == {"train": 220, "holdout": 222}
    assert champion["data"]["source"] == "sklearn:diabetes"
    assert len(champion["data"]["fingerprint"]) == 64
    assert champion["data"]["as_of"]
    assert champion["against"]["version"] == "1"
    assert champion["against"]["difference"]["value"] == pytest.approx(0.1338, abs=1e-4)
    assert (found["agree"], found["trouble"], found["mend"]) == (True, None, None)
    assert [r["verdict"] for r in found["runs"]] == [
        "rolled back", "promoted", "rejected", "promoted", "promoted",
    ]  # fmt: skip
    assert all(record["reasons"] for record in found["runs"])


def test_a_person_reads_the_same(state: State, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out, _ = call(main, capsys)
    for words in (
        "endpoint and registry agree",
        "by rollback of",
        "sklearn:diabetes, 220 rows, 222 held out",
        "version 1 by +0.1338",
        "rejected",
    ):
        assert words in out


def test_data_that_has_not_changed_has_not_drifted(state: State, capsys):
    drift = row(capsys)["champion"]["drift"]
    assert (drift["unknown"], drift["same_data"]) == (None, True)
    assert {one["word"] for one in drift["columns"]} == {"stable"}
    assert "drift" in call(main, capsys)[0]


def test_drift_of_the_newest_data_is_told(state: State, capsys, monkeypatch, tmp_path: Path):
    """A run on other patients, heavier by half; its verdict does not matter."""
    monkeypatch.setenv("COLUMNS", "200")
    rows = np.column_stack(load_diabetes(scaled=False, return_X_y=True))
    rows[:, 2] *= 1.5
    heavier = tmp_path / "heavier.csv"
    np.savetxt(heavier, rows, delimiter=",", fmt="%g")
    workload = discovery.get(NAME)
    output = SimpleNamespace(path=str(tmp_path / "data"), metadata={})
    in_pipeline(NAME, to_lines(workload.parse({"source": str(heavier)})), "heavier", "", output)
    drift = row(capsys)["champion"]["drift"]
    assert (drift["run"], drift["same_data"]) == ("heavier", False)
    farthest = drift["columns"][0]
    assert (farthest["column"], farthest["word"]) == ("bmi", "large")
    assert farthest["index"] > 1 > farthest["chance"]
    assert farthest["p"] < 1e-6
    assert farthest["mean_now"] > 1.4 * farthest["mean_then"]
    out, _ = call(main, capsys)
    assert "1 of 11 columns moved" in out
    assert "bmi  index" in out


def test_without_a_word_on_the_newest_data_nothing_is_said_of_drift(state: State, capsys):
    path = state.folder / "store" / "records" / NAME / "data.json"
    away = path.rename(path.with_suffix(".away"))
    try:
        assert "no run has recorded its data yet" in row(capsys)["champion"]["drift"]["unknown"]
    finally:
        away.rename(path)


def test_a_champion_whose_archive_is_gone_is_told(state: State, capsys):
    path = state.archive(int(row(capsys)["champion"]["version"]))
    away = path.rename(path.with_suffix(".away"))
    try:
        found = row(capsys)["champion"]
        assert (found["archive"]["bytes"], found["archive"]["intact"]) == (None, None)
        assert "not known" in found["drift"]["unknown"]
        assert "missing" in call(main, capsys)[0]
    finally:
        away.rename(path)


def test_a_disagreement_is_told_with_what_mends_it(state: State, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    state.registry.point(NAME, CHAMPION, "1", "by a test", "no run")
    found = row(capsys)
    assert found["agree"] is False
    assert f"champion is version 1 ({state.digests[0][:12]}), but {state.digests[1][:12]}" in found["trouble"]
    out, _ = call(main, capsys)
    assert "endpoint and registry disagree" in out
    assert found["mend"] in out
    verb, *arguments = found["mend"].split()[2:]
    assert verb == "pipelines.rollback"
    assert rollback.main(arguments) == 0
    assert row(capsys)["agree"] is True


def test_a_registry_without_a_champion_is_a_disagreement(state: State, capsys):
    version = state.aliases[CHAMPION]
    state.registry.remove_alias(NAME, CHAMPION)
    found = row(capsys)
    assert (found["agree"], found["champion"]) == (False, None)
    assert "force=true" in found["mend"]
    state.registry.point(NAME, CHAMPION, version, "put back by a test", "no run")


def test_a_trial_is_told(state: State, capsys):
    from continuous_training.rollout.local import LocalTarget

    target = LocalTarget(state.folder)
    target.begin_trial(NAME, state.archive(3), state.digests[2])
    found = row(capsys)
    assert (found["agree"], found["served"]["phase"]) == (None, "probation")
    assert "under way" in found["trouble"]
    target.revert(NAME, state.digests[2])
    assert row(capsys)["agree"] is True


def test_a_stopped_server_stays_stopped_and_is_told(state: State, capsys):
    daemon.stop(state.folder)
    status = told(main, capsys)
    found = status["workloads"][0]
    assert (status["server"], found["endpoint"], found["agree"]) == (None, None, True)
    assert found["served"]["version"] == found["champion"]["version"]
    assert "serving start" in found["mend"]
    out, _ = call(main, capsys)
    assert "no model server runs" in out
    assert daemon.status(state.folder) is None, "status starts no server"


def test_an_archive_that_cannot_be_loaded_is_told(state: State, capsys):
    models = state.folder / "serving" / "models.json"
    kept = Path(json.loads(models.read_text())[NAME]["archive"])
    sound = kept.read_bytes()
    kept.write_bytes(b"no archive")
    try:
        daemon.start(state.folder)
        found = row(capsys)
        assert (found["agree"], found["endpoint"]) == (False, None)
        assert "nothing answers" in found["trouble"]
    finally:
        kept.write_bytes(sound)
        daemon.stop(state.folder)


def test_an_unreadable_list_of_models_is_refused(state: State, capsys):
    models = state.folder / "serving" / "models.json"
    text = models.read_text()
    models.write_text("{")
    try:
        _, said = call(main, capsys, expect=2)
        assert "models.json cannot be read" in said
    finally:
        models.write_text(text)


def test_where_nothing_was_ever_run_it_says_so_and_makes_nothing(tmp_path: Path, capsys):
    at = ("--state", str(tmp_path / "none"))
    out, _ = call(main, capsys, *at)
    assert "nothing was ever run here" in out
    assert told(main, capsys, *at)["workloads"] == []
    out, _ = call(main, capsys, *ASK, *at)
    assert "diabetes was never run here" in out
    _, said = call(main, capsys, "--workload", "nothere", *at, expect=2)
    assert "registered are: diabetes, digits" in said
    assert not (tmp_path / "none").exists()


def test_the_registry_is_started_for_the_while(state: State):
    """By its command line, on a state folder alone: nothing in the environment points at a registry."""
    done = champions.python("pipelines.status", "--state", str(state.folder), "--json")
    assert json.loads(done.stdout)["workloads"][0]["champion"]["version"]
