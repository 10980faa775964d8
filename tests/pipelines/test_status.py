"""The command status: the served version, its origin, and whether endpoint and registry agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from components.prep_data.__main__ import in_pipeline
from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.core.run_parameters import to_lines
from continuous_training.operations.serving_state import ClusterServingState
from continuous_training.serving.models.model_status import UNAVAILABLE, ModelStatus
from continuous_training.serving.process import daemon
from pipelines import rollback
from pipelines.status import main
from workloads import discovery

from . import champions
from .champions import NAME, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with champions.copy_state(tmp_path_factory, "status") as opened:
        daemon.start(opened.folder)
        yield opened


def workload_status(capsys) -> dict:
    """Return the status of the workload."""
    return run_json(main, capsys, *WORKLOAD)["workloads"][0]


def test_status_shows_the_served_version_and_its_origin(state: ChampionState, capsys):
    assert rollback.main([*WORKLOAD, "--why", "shown in the status"]) == 0
    status = run_json(main, capsys)
    assert status["server"]["url"].startswith("http://127.0.0.1:")
    result = status["workloads"][0]
    champion, two = result["champion"], state.digests[1]
    assert result["endpoint"] == f"{status['server']['url']}/predict/{NAME}"
    assert (result["served"]["version"], result["served"]["digest"]) == ("2", two)
    assert (champion["version"], champion["digest"], result["previous"]) == ("2", two, "1")
    assert (champion["by"]["kind"], champion["by"]["why"]) == ("rollback", "shown in the status")
    assert champion["data"]["rows"] == {"train": 220, "holdout": 222}
    assert champion["data"]["source"] == "sklearn:diabetes"
    assert len(champion["data"]["fingerprint"]) == 64
    assert champion["data"]["as_of"]
    assert champion["against"]["version"] == "1"
    assert champion["against"]["difference"]["value"] == pytest.approx(0.1338, abs=1e-4)
    assert (result["agree"], result["trouble"], result["mend"]) == (True, None, None)
    assert [r["verdict"] for r in result["runs"]] == [
        "rolled back", "promoted", "rejected", "promoted", "promoted",
    ]  # fmt: skip
    assert all(record["reasons"] for record in result["runs"])


def test_the_table_shows_the_same(state: ChampionState, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out, _ = run_command(main, capsys)
    for text in (
        "endpoint and registry agree",
        "by rollback of",
        "sklearn:diabetes, 220 rows, 222 held out",
        "version 1 by +0.1338",
        "rejected",
    ):
        assert text in out


def test_unchanged_data_has_no_drift(state: ChampionState, capsys):
    drift = workload_status(capsys)["champion"]["drift"]
    assert (drift["unknown"], drift["same_data"]) == (None, True)
    assert {one["word"] for one in drift["columns"]} == {"stable"}
    assert "drift" in run_command(main, capsys)[0]


def test_drift_of_the_newest_data_is_shown(state: ChampionState, capsys, monkeypatch, tmp_path: Path):
    """A run reads patients with a body mass index that is greater by half."""
    monkeypatch.setenv("COLUMNS", "200")
    rows = np.column_stack(load_diabetes(scaled=False, return_X_y=True))
    rows[:, 2] *= 1.5
    heavier = tmp_path / "heavier.csv"
    np.savetxt(heavier, rows, delimiter=",", fmt="%g")
    workload = discovery.get(NAME)
    output = SimpleNamespace(path=str(tmp_path / "data"), metadata={})
    in_pipeline(NAME, to_lines(workload.parse({"source": str(heavier)})), "heavier", "", output)
    drift = workload_status(capsys)["champion"]["drift"]
    assert (drift["run"], drift["same_data"]) == ("heavier", False)
    farthest = drift["columns"][0]
    assert (farthest["column"], farthest["word"]) == ("bmi", "large")
    assert farthest["index"] > 1 > farthest["chance"]
    assert farthest["p"] < 1e-6
    assert farthest["mean_now"] > 1.4 * farthest["mean_then"]
    histogram = farthest["histogram"]
    assert len(histogram["bars"]) == len(histogram["now"]) == len(histogram["then"])
    assert sum(histogram["now"]) == pytest.approx(1, abs=0.001)
    checks = workload_status(capsys)["data"]
    assert (checks["label"], checks["classes"]) == ("progression", {})
    assert checks["overlap"] == {"exact": 0, "near": 0}
    assert sum(checks["rows"].values()) == 442
    score = workload_status(capsys)["champion"]["score"]
    assert score["metric"] == "r2"
    assert score["promoted"]["value"] == pytest.approx(
        workload_status(capsys)["champion"]["metrics"]["r2"]["value"]
    )
    out, _ = run_command(main, capsys)
    assert "1 of 11 columns moved" in out
    assert "bmi  index" in out
    assert re.search(r"champion [ ▁▂▃▄▅▆▇█]*█", out)
    assert "keys: each of the 442 rows has a key of its own" in out
    assert "equal rows: no holdout row has the content of a training row" in out
    assert re.search(r"score .*R² 0\.\d+ when it was promoted", out)


def test_the_rows_in_the_gap_of_a_split_by_time_are_shown(state: ChampionState, capsys, tmp_path: Path):
    """The ages of the patients are read as seconds."""
    output = SimpleNamespace(path=str(tmp_path / "data"), metadata={})
    values = discovery.get(NAME).parse({"split_time": "age", "split_gap": "4s"})
    in_pipeline(NAME, to_lines(values), "gap", "", output)
    checks = workload_status(capsys)["data"]
    assert checks["gap_rows"] == 442 - sum(checks["rows"].values()) > 0
    out, _ = run_command(main, capsys)
    assert f"rows in the gap: {checks['gap_rows']} of 442" in out


def test_drift_is_unknown_without_a_record_of_the_newest_data(state: ChampionState, capsys):
    path = state.folder / "store" / "records" / NAME / "data.json"
    away = path.rename(path.with_suffix(".away"))
    try:
        assert "no run has recorded its data yet" in workload_status(capsys)["champion"]["drift"]["unknown"]
    finally:
        away.rename(path)


def test_a_missing_archive_of_the_champion_is_shown(state: ChampionState, capsys):
    path = state.archive(int(workload_status(capsys)["champion"]["version"]))
    away = path.rename(path.with_suffix(".away"))
    try:
        result = workload_status(capsys)["champion"]
        assert (result["archive"]["bytes"], result["archive"]["intact"]) == (None, None)
        assert "not known" in result["drift"]["unknown"]
        assert "missing" in run_command(main, capsys)[0]
    finally:
        away.rename(path)


def test_a_disagreement_is_shown_with_its_remedy(state: ChampionState, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    state.registry.move_alias(NAME, CHAMPION, "1", "by a test", "no run")
    result = workload_status(capsys)
    assert result["agree"] is False
    assert (
        f"champion is version 1 ({state.digests[0][:12]}), but {state.digests[1][:12]}" in result["trouble"]
    )
    out, _ = run_command(main, capsys)
    assert "endpoint and registry disagree" in out
    assert result["mend"] in out
    command, *arguments = result["mend"].split()[2:]
    assert command == "pipelines.rollback"
    assert rollback.main(arguments) == 0
    assert workload_status(capsys)["agree"] is True


def test_a_registry_without_a_champion_is_a_disagreement(state: ChampionState, capsys):
    version = state.aliases[CHAMPION]
    state.registry.remove_alias(NAME, CHAMPION)
    result = workload_status(capsys)
    assert (result["agree"], result["champion"]) == (False, None)
    assert f"pipelines.rollback --workload {NAME} --to {version}" in result["mend"]
    state.registry.move_alias(NAME, CHAMPION, version, "restored by a test", "no run")


def test_a_trial_is_shown(state: ChampionState, capsys):
    from continuous_training.rollout.local import LocalTarget

    target = LocalTarget(state.folder)
    target.begin_trial(NAME, state.archive(3), state.digests[2])
    result = workload_status(capsys)
    assert (result["agree"], result["served"]["phase"]) == (None, "probation")
    assert "in progress" in result["trouble"]
    target.revert(NAME, state.digests[2])
    assert workload_status(capsys)["agree"] is True


def test_status_does_not_start_a_stopped_server(state: ChampionState, capsys):
    daemon.stop(state.folder)
    status = run_json(main, capsys)
    result = status["workloads"][0]
    assert (status["server"], result["endpoint"], result["agree"]) == (None, None, True)
    assert result["served"]["version"] == result["champion"]["version"]
    assert "serving start" in result["mend"]
    out, _ = run_command(main, capsys)
    assert "no model server runs" in out
    assert ", once a server runs" in out
    assert daemon.status(state.folder) is None, "status starts no server"


def test_a_cluster_without_a_ready_server_is_not_a_stopped_local_server(
    state: ChampionState, capsys, monkeypatch
):
    unavailable = ModelStatus(NAME, UNAVAILABLE, "no server of it is ready", digest=state.digests[1])
    serving = ClusterServingState(None, {NAME: unavailable}, {}, {}, "models")
    monkeypatch.setattr("continuous_training.operations.status.read_serving_state", lambda _: serving)
    out, _ = run_command(main, capsys)
    assert f"archive {state.digests[1][:12]}, but no server of it is ready" in " ".join(out.split())
    assert "once a server runs" not in out


def test_an_archive_that_cannot_be_loaded_is_shown(state: ChampionState, capsys):
    models = state.folder / "serving" / "models.json"
    archive_path = Path(json.loads(models.read_text())[NAME]["archive"])
    sound = archive_path.read_bytes()
    archive_path.write_bytes(b"no archive")
    try:
        daemon.start(state.folder)
        result = workload_status(capsys)
        assert (result["agree"], result["endpoint"]) == (False, None)
        assert "does not answer" in result["trouble"]
    finally:
        archive_path.write_bytes(sound)
        daemon.stop(state.folder)


def test_a_damaged_list_of_models_is_reported(state: ChampionState, capsys):
    models = state.folder / "serving" / "models.json"
    text = models.read_text()
    models.write_text("{")
    try:
        out, error = run_command(main, capsys)
        assert "models.json is damaged" in error
        assert "no version is served under this name" in out
    finally:
        models.write_text(text)


def test_status_creates_nothing_in_an_empty_state_directory(tmp_path: Path, capsys):
    at = ("--state", str(tmp_path / "none"))
    out, _ = run_command(main, capsys, *at)
    assert "no workload was ever run here" in out
    assert run_json(main, capsys, *at)["workloads"] == []
    out, _ = run_command(main, capsys, *WORKLOAD, *at)
    assert "diabetes was never run here" in out
    _, error = run_command(main, capsys, "--workload", "nothere", *at, expect=2)
    assert "registered are: diabetes, digits" in error
    assert not (tmp_path / "none").exists()


def test_the_local_registry_is_started_for_the_command(state: ChampionState):
    """In its own process, with a state directory only: the environment names no registry."""
    completed = champions.run_module("pipelines.status", "--state", str(state.folder), "--json")
    assert json.loads(completed.stdout)["workloads"][0]["champion"]["version"]
