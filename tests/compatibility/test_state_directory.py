"""Every command works on a state directory that the former version's local runs left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.local_registry import open_registry

from .former import DIGIT, ask, copy, document, environment, json_of, python

VERSIONS = {number: document(f"documents/run-{number}.json")["digest"] for number in ("1", "2")}
"""Digests of the workload digits: version 2 is the champion, version 1 stands behind it."""


@pytest.fixture(scope="module")
def reports(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the commands print about a copy, by the name of the stored document; then a server serves it."""
    state = copy(local / "state", tmp_path_factory.mktemp("read") / "state")
    env, digits = environment(PYTHONPATH=str(local / "ours")), ("--workload", "digits")
    # This command starts the registry itself; for the others one server of it is enough.
    found = {"state": str(state), "status": json_of("pipelines.status", "--state", state, env=env)}
    try:
        with open_registry(f"sqlite:///{state}/mlflow/mlflow.db") as registry:
            env |= {"CT_STATE": str(state), "MLFLOW_TRACKING_URI": registry.uri}
            found["history"] = json_of("pipelines.history", *digits, env=env)
            found["prune"] = json_of("pipelines.prune", "--keep", "1", "--dry-run", env=env)
            found["trace-1"] = json_of("pipelines.trace", VERSIONS["1"][:12], env=env)
            python("serving", "start", "--state", state)
            found["serving-status"] = json_of("serving", "status", "--state", state)
            found["rollback-1"] = json_of("pipelines.rollback", *digits, env=env)
        yield found
    finally:
        python("serving", "stop", "--state", state)


def without(value: Any, *keys: str) -> Any:
    """Return the value without what depends on the machine, the checkout or the time, at any depth."""
    if isinstance(value, dict):
        return {key: without(item, *keys) for key, item in value.items() if key not in keys}
    return [without(item, *keys) for item in value] if isinstance(value, list) else value


def test_status_shows_the_same_champions(reports: dict[str, Any]) -> None:
    now, then = reports["status"], document("documents/status.json")
    assert set(now) == set(then)
    assert (now["server"], now["state"]) == (None, reports["state"])
    # No server runs, so there is no endpoint; whether the code is the same is a fact about the checkout.
    changing = ("endpoint", "served", "agree", "trouble", "mend", "commit", "code_is_here")
    assert without(now["workloads"], *changing) == without(then["workloads"], *changing)
    for row, former in zip(now["workloads"], then["workloads"], strict=True):
        assert set(row) == set(former)
        assert row["agree"] is True
        assert row["mend"] == f"python -m serving start --state {reports['state']}"
        assert row["served"]["digest"] == former["served"]["digest"]
        assert row["champion"]["archive"]["intact"] is True


def test_history_shows_the_same_events(reports: dict[str, Any]) -> None:
    now, then = reports["history"], document("documents/history.json")
    assert without(now, "figure") == without(then, "figure")
    assert [event["kind"] for event in now["events"]] == [
        "promoted", "promoted", "rejected", "rollback", "rollback",
    ]  # fmt: skip


def test_trace_finds_run_data_and_parameters(reports: dict[str, Any]) -> None:
    now, then = reports["trace-1"], document("documents/trace-1.json")
    assert set(now) == set(then)
    changing = ("commit", "code_is_here", "report", "rows_at")
    assert without(now, *changing) == without(then, *changing)
    for path in ("report", "rows_at"):
        assert now[path] == then[path].replace("/tmp/ct/state", reports["state"])  # noqa: S108
        assert Path(now[path]).is_file()


def test_prune_would_remove_the_same(reports: dict[str, Any]) -> None:
    now, then = reports["prune"], document("documents/prune.json")
    assert without(now, "state") == without(then, "state")
    assert now["runs"] == 2


def test_the_server_serves_the_confirmed_versions(reports: dict[str, Any]) -> None:
    now, then = reports["serving-status"], document("documents/serving-status.json")
    assert set(now) == set(then)
    changing = ("loaded_at", "archive")
    assert without(now["models"], *changing) == without(then["models"], *changing)
    assert ask(now["url"], "wine").json() == {"growers": [0]}


def test_a_rollback_serves_a_version_that_the_former_code_archived(reports: dict[str, Any]) -> None:
    now, then = reports["rollback-1"], document("documents/rollback-1.json")
    assert set(now) == set(then)
    assert (now["verdict"], now["to"]) == (then["verdict"], then["to"])
    assert now["endpoint"] == f"{reports['serving-status']['url']}/predict/digits"
    served = ask(reports["serving-status"]["url"], "digits", DIGIT)
    assert (served.status_code, served.headers["x-model-digest"]) == (200, VERSIONS["1"])
    models = json.loads((Path(reports["state"]) / "serving" / "models.json").read_text())
    assert models["digits"]["digest"] == VERSIONS["1"]


def test_a_run_on_unchanged_data_is_recognised(state: Path, local: Path) -> None:
    """The workload's code is the same, so the input digest is: nothing is trained."""
    env = environment(PYTHONPATH=str(local / "ours"))
    result = json_of("pipelines.run", "--state", state, "--workload", "wine", env=env)
    then = document("documents/run-7.json")
    assert set(result) == set(then)
    assert (result["verdict"], result["digest"]) == ("unchanged", then["digest"])
    assert ask(result["endpoint"].removesuffix("/predict/wine"), "wine").json() == {"growers": [0]}


def test_a_run_of_a_workload_whose_code_has_moved_does_no_harm(state: Path) -> None:
    """The digest of the code is part of the input digest, so the first run after an upgrade may train."""
    arguments = ("pipelines.run", "--state", state, "--workload", "digits", "--set", "components=16")
    result = json_of(*arguments, codes=(0, 3))
    assert result["verdict"] in ("unchanged", "promoted", "rejected")
    served = ask(result["endpoint"].removesuffix("/predict/digits"), "digits", DIGIT)
    champion = result["digest"] if result["verdict"] == "promoted" else VERSIONS["2"]
    assert served.headers["x-model-digest"] == champion
    aliases = json.loads((state / "store" / "aliases" / "digits" / "champion.json").read_text())
    assert aliases["digest"] == champion
