"""Commands work on a state directory with local runs of the earlier version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.registry import run_registry

from .earlier_version import (
    DIGIT,
    clean_environment,
    copy_state,
    predict,
    read_document,
    run_json,
    run_module,
)

VERSIONS = {number: read_document(f"documents/run-{number}.json")["digest"] for number in ("1", "2")}
"""Digests of the workload digits by version: version 2 is the champion, version 1 is the previous version."""


@pytest.fixture(scope="module")
def reports(local_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The output of commands on a copy of the state directory, by document name. A server serves the copy."""
    state = copy_state(local_runs / "state", tmp_path_factory.mktemp("read") / "state")
    env, digits = clean_environment(PYTHONPATH=str(local_runs / "ours")), ("--workload", "digits")
    # This command starts its own server of the registry; the other commands share one server.
    outputs = {"state": str(state), "status": run_json("pipelines.status", "--state", state, env=env)}
    try:
        with run_registry(state / "mlflow") as registry:
            env |= {"CT_STATE": str(state), "MLFLOW_TRACKING_URI": registry.uri}
            outputs["history"] = run_json("pipelines.history", *digits, env=env)
            outputs["prune"] = run_json("pipelines.prune", "--keep", "1", "--dry-run", env=env)
            outputs["trace-1"] = run_json("pipelines.trace", VERSIONS["1"][:12], env=env)
            run_module("serving", "start", "--state", state)
            outputs["serving-status"] = run_json("serving", "status", "--state", state)
            outputs["rollback-1"] = run_json("pipelines.rollback", *digits, env=env)
        yield outputs
    finally:
        run_module("serving", "stop", "--state", state)


def without(value: Any, *keys: str) -> Any:
    """Return the value without these keys, at every depth."""
    if isinstance(value, dict):
        return {key: without(item, *keys) for key, item in value.items() if key not in keys}
    return [without(item, *keys) for item in value] if isinstance(value, list) else value


def assert_contains(current: Any, recorded: Any, position: str = "workloads") -> None:
    """Assert that a document has all recorded keys with equal values; it may have additional keys."""
    if isinstance(recorded, dict):
        for key, value in recorded.items():
            assert key in current, f"{position}.{key} is missing"
            assert_contains(current[key], value, f"{position}.{key}")
    elif isinstance(recorded, list):
        assert len(current) == len(recorded), position
        for index, (item, recorded_item) in enumerate(zip(current, recorded, strict=True)):
            assert_contains(item, recorded_item, f"{position}[{index}]")
    else:
        assert current == recorded, position


def test_status_shows_the_same_champions(reports: dict[str, Any]) -> None:
    current, recorded = reports["status"], read_document("documents/status.json")
    assert set(current) == set(recorded)
    assert (current["server"], current["state"]) == (None, reports["state"])
    # No server runs, so there is no endpoint. `commit` and `code_is_here` depend on the checkout.
    changing = ("endpoint", "served", "agree", "trouble", "mend", "commit", "code_is_here")
    assert_contains(without(current["workloads"], *changing), without(recorded["workloads"], *changing))
    for row, recorded_row in zip(current["workloads"], recorded["workloads"], strict=True):
        assert set(row) >= set(recorded_row), "a key of --json is missing"
        assert row["agree"] is True
        assert row["mend"] == f"python -m serving start --state {reports['state']}"
        assert row["served"]["digest"] == recorded_row["served"]["digest"]
        assert row["champion"]["archive"]["intact"] is True


def test_history_shows_the_same_events(reports: dict[str, Any]) -> None:
    current, recorded = reports["history"], read_document("documents/history.json")
    # This version also shows who rolled back.
    kinds = {event["kind"] for event in current["events"] if event.pop("by", None)}
    assert kinds == {"rollback"}
    assert without(current, "figure") == without(recorded, "figure")
    assert [event["kind"] for event in current["events"]] == [
        "promoted", "promoted", "rejected", "rollback", "rollback",
    ]  # fmt: skip


def test_trace_shows_run_data_and_parameters(reports: dict[str, Any]) -> None:
    current, recorded = reports["trace-1"], read_document("documents/trace-1.json")
    assert set(current) == set(recorded)
    changing = ("commit", "code_is_here", "report", "rows_at")
    assert without(current, *changing) == without(recorded, *changing)
    for path in ("report", "rows_at"):
        assert current[path] == recorded[path].replace("/tmp/ct/state", reports["state"])  # noqa: S108
        assert Path(current[path]).is_file()


def test_prune_selects_the_same_files(reports: dict[str, Any]) -> None:
    current, recorded = reports["prune"], read_document("documents/prune.json")
    # Temporary files of killed processes are counted since a later version.
    assert without(current, "state", "leftovers") == without(recorded, "state")
    assert (current["runs"], current["leftovers"]) == (2, 0)


def test_the_server_serves_the_confirmed_versions(reports: dict[str, Any]) -> None:
    current, recorded = reports["serving-status"], read_document("documents/serving-status.json")
    assert set(current) == set(recorded)
    changing = ("loaded_at", "archive")
    assert without(current["models"], *changing) == without(recorded["models"], *changing)
    assert predict(current["url"], "wine").json() == {"growers": [0]}


def test_a_rollback_serves_an_archive_of_the_earlier_version(reports: dict[str, Any]) -> None:
    current, recorded = reports["rollback-1"], read_document("documents/rollback-1.json")
    assert set(current) == set(recorded)
    assert (current["verdict"], current["to"]) == (recorded["verdict"], recorded["to"])
    assert current["endpoint"] == f"{reports['serving-status']['url']}/predict/digits"
    response = predict(reports["serving-status"]["url"], "digits", DIGIT)
    assert (response.status_code, response.headers["x-model-digest"]) == (200, VERSIONS["1"])
    models = json.loads((Path(reports["state"]) / "serving" / "models.json").read_text())
    assert models["digits"]["digest"] == VERSIONS["1"]


def test_a_run_with_unchanged_inputs_is_unchanged(state: Path, local_runs: Path) -> None:
    """The former input digest is the same, so the run trains no model; later changes are found."""
    env = clean_environment(PYTHONPATH=str(local_runs / "ours"))
    result = run_json("pipelines.run", "--state", state, "--workload", "wine", env=env)
    latest = json.loads((state / "store" / "records" / "wine" / "data.json").read_text())
    assert {"workloads/wine/workload.py", "workloads/contract.py"} <= set(latest["inputs"]["modules"])
    assert latest["baseline"]
    recorded = read_document("documents/run-7.json")
    assert set(result) == set(recorded)
    assert (result["verdict"], result["digest"]) == ("unchanged", recorded["digest"])
    assert predict(result["endpoint"].removesuffix("/predict/wine"), "wine").json() == {"growers": [0]}


def test_a_run_of_a_workload_with_moved_code_serves_the_champion(state: Path) -> None:
    """The input digest includes the code, so the first run after an upgrade may train a model."""
    arguments = ("pipelines.run", "--state", state, "--workload", "digits", "--set", "components=16")
    result = run_json(*arguments, codes=(0, 3))
    assert result["verdict"] in ("unchanged", "promoted", "rejected")
    response = predict(result["endpoint"].removesuffix("/predict/digits"), "digits", DIGIT)
    champion = result["digest"] if result["verdict"] == "promoted" else VERSIONS["2"]
    assert response.headers["x-model-digest"] == champion
    aliases = json.loads((state / "store" / "aliases" / "digits" / "champion.json").read_text())
    assert aliases["digest"] == champion
