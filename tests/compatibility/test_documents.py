"""New documents have the keys of the recorded documents, and steps can read the recorded documents."""

from __future__ import annotations

import json
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kfp_server import KfpServer, kfp_server

from .conftest import NextRun
from .earlier_version import FIXTURES, clean_environment, read_document, run_json, run_module

STEPS = "artifacts/*"
DOCUMENTS = {
    "dataset manifest": f"{STEPS}/prep-data/data/dataset.json",
    "bundle metadata": f"{STEPS}/train/model/model.json",
    "evaluation": f"{STEPS}/evaluate/evaluation/evaluation.json",
    "golden set": f"{STEPS}/evaluate/evaluation/golden.json",
    "archived model": f"{STEPS}/archive/archived/archived.json",
    "archive manifest": f"{STEPS}/archive/archived/*.mar!archive.json",
    "TorchServe's manifest": f"{STEPS}/archive/archived/*.mar!MAR-INF/MANIFEST.json",
}
"""By document: the path in the folder of a run. After `!`: the member of the archive at that path."""

KILLED = "wine-20261128T235325-2ef0"
"""The killed run in the state directory `confirmed`: it had compared the model with a champion."""
PROMOTED = "digits-20261128T235050-89bf"
"""The run in the state directory of local runs that replaced a champion."""


def read(folder: Path, path: str) -> Any:
    """Read the only document that matches a path with wildcards."""
    pattern, _, member = path.partition("!")
    (file,) = folder.glob(pattern)
    if member:
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read(member))
    text = file.read_text(encoding="utf-8")
    return yaml.safe_load(text) if file.name == "MLmodel" else json.loads(text)


def missing_keys(recorded_value: Any, value: Any, at: str = "") -> list[str]:
    """Return the paths where a key is missing or has another type. Additional keys are allowed."""
    if recorded_value is None or value is None:
        return []
    numbers = (int, float)
    if isinstance(recorded_value, numbers) and not isinstance(recorded_value, bool):
        return [] if isinstance(value, numbers) else [f"{at} is {type(value).__name__}"]
    if type(recorded_value) is not type(value):
        return [f"{at} is {type(value).__name__}"]
    if isinstance(recorded_value, dict):
        return [
            problem
            for key, item in recorded_value.items()
            for problem in (
                missing_keys(item, value[key], f"{at}.{key}") if key in value else [f"{at}.{key}"]
            )
        ]
    if isinstance(recorded_value, list) and recorded_value and value:
        return missing_keys(recorded_value[0], value[0], f"{at}[0]")
    return []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_a_step_has_the_recorded_keys(
    name: str, interrupted_rollouts: Path, next_run: NextRun
) -> None:
    killed = interrupted_rollouts / "confirmed" / "runs" / KILLED
    current = read(next_run.state / "runs" / next_run.result["run"], DOCUMENTS[name])
    recorded = read(killed, DOCUMENTS[name])
    changing = {"archive manifest": ("files",)}.get(name, ())
    for key in changing:
        # The key lists the files of the handler's code, and these modules have new names.
        current.pop(key)
        recorded.pop(key)
    assert missing_keys(recorded, current) == []


PROMOTION = {
    "run record": "store/records/{name}/runs/{run}.json",
    "result": "runs/{run}/result.json",
    "deployed": "runs/{run}/artifacts/*/deploy-serving/deployed",
    "alias": "store/aliases/{name}/champion.json",
    "model flavor": "mlflow/artifacts/*/*/artifacts/model/MLmodel",
}
"""By document: the path in the state directory. If several files match, the latest belongs to the run."""


@pytest.mark.parametrize("name", PROMOTION)
def test_a_document_of_a_promotion_has_the_recorded_keys(
    name: str, local_runs: Path, next_run: NextRun
) -> None:
    def latest(state: Path, workload: str, run: str) -> Any:
        paths = state.glob(PROMOTION[name].format(name=workload, run=run))
        path = max(paths, key=lambda path: path.stat().st_mtime)
        return read(path.parent, path.name)

    recorded = latest(local_runs / "state", "digits", PROMOTED)
    assert missing_keys(recorded, latest(next_run.state, "wine", next_run.result["run"])) == []


def test_the_record_of_an_input_digest_has_the_recorded_keys(local_runs: Path, next_run: NextRun) -> None:
    """The record is stored under the input digest; the key of the input digest in documents is `recipe`."""
    folders = [
        root / "store" / "records" / "wine" / "recipes" for root in (local_runs / "state", next_run.state)
    ]
    recorded = next(item for item in map(_json, folders[0].iterdir()) if item["verdict"] == "promoted")
    current = next(item for item in map(_json, folders[1].iterdir()) if item["run"] == next_run.result["run"])
    assert missing_keys(recorded, current) == []
    # The input digest now covers the imported modules and the packages, so it differs. The run before did not
    # complete; test_state_directory.py has the runs whose records are accepted.
    assert re.fullmatch("[0-9a-f]{64}", current["recipe"])
    assert current["recipe"] != recorded["recipe"]


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_registry_has_the_recorded_tags_parameters_and_metrics(
    local_runs: Path, next_run: NextRun
) -> None:
    def keys(state: Path, run: str) -> dict[str, set[str]]:
        with closing(sqlite3.connect(state / "mlflow" / "mlflow.db")) as database:

            def select(query: str, *values: str) -> list[tuple[str, ...]]:
                return database.execute(query, values).fetchall()

            ((identifier,),) = select("SELECT run_uuid FROM runs WHERE name = ?", run)
            moves = select("SELECT key, value FROM registered_model_tags WHERE name = 'wine'")
            return {
                "tags": {key for (key,) in select("SELECT key FROM tags WHERE run_uuid = ?", identifier)},
                "parameters": {
                    key for (key,) in select("SELECT key FROM params WHERE run_uuid = ?", identifier)
                },
                "metrics": {
                    key for (key,) in select("SELECT key FROM metrics WHERE run_uuid = ?", identifier)
                },
                "versions": {
                    key for (key,) in select("SELECT key FROM model_version_tags WHERE name = 'wine'")
                },
                "moves": {
                    part for key, value in moves for part in (key.partition(".")[0], *json.loads(value))
                },
            }

    recorded = keys(local_runs / "state", "wine-20261128T235112-09e7")
    current = keys(next_run.state, next_run.result["run"])
    for table, names in recorded.items():
        assert names <= current[table], table


def test_steps_read_the_outputs_of_the_earlier_version(
    registry_environment: dict[str, str], tmp_path: Path
) -> None:
    (run,) = Path(registry_environment["CT_STATE"]).glob("runs/wine-20261128T235112-09e7/artifacts/*")
    evaluate = ("components.evaluate", "--workload", "wine", "--run-id", "wine-again")
    paths = ("--data", run / "prep-data" / "data", "--model", run / "train" / "model")
    # The model is the champion itself: the step recognizes it by the digest of the bundle.
    run_module(*evaluate, *paths, "--output", tmp_path / "evaluation", env=registry_environment)
    current = _json(tmp_path / "evaluation" / "evaluation.json")
    assert missing_keys(_json(run / "evaluate" / "evaluation" / "evaluation.json"), current) == []

    archive = ("components.archive", "--model", run / "train" / "model")
    evaluation = ("--evaluation", run / "evaluate" / "evaluation")
    run_module(*archive, *evaluation, "--output", tmp_path / "archive", env=registry_environment)
    archived, recorded = (
        _json(tmp_path / "archive" / "archived.json"),
        _json(run / "archive" / "archived" / "archived.json"),
    )
    assert archived["metrics"] == recorded["metrics"]
    assert archived["recipe"] == recorded["recipe"]


def test_the_plan_of_a_run_has_the_recorded_keys(tmp_path: Path) -> None:
    plan = run_json("pipelines.run", "--workload", "digits", "--state", tmp_path, "--dry-run")
    recorded = read_document("documents/run-dry-run.json")
    assert set(plan) == set(recorded)
    # Later versions may add parameters.
    assert recorded["parameters"].items() <= plan["parameters"].items()


def test_workloads_have_the_recorded_parameters() -> None:
    def keys(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            row["name"]: (
                set(row),
                [(p["name"], p["default"]) for p in row["parameters"] if p["name"] in names],
            )
            for row in rows
        }

    recorded = read_document("documents/workloads.json")
    # Later versions may add parameters.
    names = {parameter["name"] for row in recorded for parameter in row["parameters"]}
    # The recorded margin of iris, 0.05, needs 73 holdout rows. A rule with fewer is rejected now.
    changed = {"gate_margin": 0.15, "gate_rows": 22}
    for parameter in next(row for row in recorded if row["name"] == "iris")["parameters"]:
        parameter["default"] = changed.get(parameter["name"], parameter["default"])
    assert keys(run_json("workloads")) == keys(recorded)


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    """A simulated Kubeflow Pipelines server with the pipeline and the schedules of the earlier version."""
    with kfp_server() as server:
        for table, rows in read_document("cluster/schedules.json").items():
            setattr(server, {"recurring": "recurring_runs"}.get(table, table), rows)
        yield server


def test_apply_recognizes_the_recorded_schedules(kfp: KfpServer, tmp_path: Path) -> None:
    env = clean_environment(
        KF_PIPELINES_ENDPOINT=kfp.url, HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "none")
    )
    before = {row["display_name"]: dict(row) for row in kfp.recurring_runs.values()}
    run_module("pipelines.schedule", "apply", "--file", FIXTURES / "schedules.yaml", env=env)
    assert len(kfp.recurring_runs) == len(before)
    # A replaced schedule has another id, and another pipeline version if the compiled pipeline has changed.
    changing = ("pipeline_version_reference", "recurring_run_id", "created_at", "updated_at")
    for row in kfp.recurring_runs.values():
        recorded = before[row["display_name"]]
        assert {key: row[key] for key in row if key not in changing} == {
            key: recorded[key] for key in recorded if key not in changing
        }
    run_module("pipelines.schedule", "pause", "nightly", env=env)
    assert {row["mode"] for row in kfp.recurring_runs.values()} == {"DISABLE"}
