"""Stored documents: new ones have the keys of the former ones, and steps read the former ones."""

from __future__ import annotations

import json
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
from .former import FIXTURES, document, environment, json_of, python

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
"""By name: a path in the folder of a run, and after `!` a member of the archive at that path."""

KILLED = "wine-20261128T235325-2ef0"
"""The run in the state directory `confirmed` that was killed: it had judged the model against a champion."""
PROMOTED = "digits-20261128T235050-89bf"
"""The run in the state directory of local runs that replaced a champion."""


def read(folder: Path, path: str) -> Any:
    """Read the one document that a path with wildcards means."""
    pattern, _, member = path.partition("!")
    (found,) = folder.glob(pattern)
    if member:
        with zipfile.ZipFile(found) as archive:
            return json.loads(archive.read(member))
    text = found.read_text(encoding="utf-8")
    return yaml.safe_load(text) if found.name == "MLmodel" else json.loads(text)


def missing(former_value: Any, value: Any, at: str = "") -> list[str]:
    """Return the paths at which a document lacks a key or has another type; more keys are allowed."""
    if former_value is None or value is None:
        return []
    numbers = (int, float)
    if isinstance(former_value, numbers) and not isinstance(former_value, bool):
        return [] if isinstance(value, numbers) else [f"{at} is {type(value).__name__}"]
    if type(former_value) is not type(value):
        return [f"{at} is {type(value).__name__}"]
    if isinstance(former_value, dict):
        return [
            problem
            for key, item in former_value.items()
            for problem in (missing(item, value[key], f"{at}.{key}") if key in value else [f"{at}.{key}"])
        ]
    if isinstance(former_value, list) and former_value and value:
        return missing(former_value[0], value[0], f"{at}[0]")
    return []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_step_s_document_has_the_former_keys(name: str, interrupted: Path, next_run: NextRun) -> None:
    killed = interrupted / "confirmed" / "runs" / KILLED
    now = read(next_run.state / "runs" / next_run.result["run"], DOCUMENTS[name])
    then = read(killed, DOCUMENTS[name])
    changing = {"archive manifest": ("files",)}.get(name, ())
    for key in changing:
        # The files of the handler's code: their names are those of today's modules.
        now.pop(key)
        then.pop(key)
    assert missing(then, now) == []


PROMOTION = {
    "run record": "store/records/{name}/runs/{run}.json",
    "result": "runs/{run}/result.json",
    "deployed": "runs/{run}/artifacts/*/deploy-serving/deployed",
    "alias": "store/aliases/{name}/champion.json",
    "model flavor": "mlflow/artifacts/*/*/artifacts/model/MLmodel",
}
"""By name: a path in the state directory; the newest of several files is the one of the run."""


@pytest.mark.parametrize("name", PROMOTION)
def test_a_document_of_a_promotion_has_the_former_keys(name: str, local: Path, next_run: NextRun) -> None:
    def newest(state: Path, workload: str, run: str) -> Any:
        paths = state.glob(PROMOTION[name].format(name=workload, run=run))
        path = max(paths, key=lambda path: path.stat().st_mtime)
        return read(path.parent, path.name)

    then = newest(local / "state", "digits", PROMOTED)
    assert missing(then, newest(next_run.state, "wine", next_run.result["run"])) == []


def test_the_record_of_the_input_digest_has_the_former_keys(local: Path, next_run: NextRun) -> None:
    """It is stored under the input digest, which the archived model names `recipe`."""
    folders = [root / "store" / "records" / "wine" / "recipes" for root in (local / "state", next_run.state)]
    then = next(one for one in map(_json, folders[0].iterdir()) if one["verdict"] == "promoted")
    now = next(one for one in map(_json, folders[1].iterdir()) if one["run"] == next_run.result["run"])
    assert missing(then, now) == []
    # The same rows, parameters, rule and code: the same digest.
    assert now["recipe"] == then["recipe"]


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_registry_has_the_former_tags_parameters_and_metrics(local: Path, next_run: NextRun) -> None:
    def keys(state: Path, run: str) -> dict[str, set[str]]:
        with closing(sqlite3.connect(state / "mlflow" / "mlflow.db")) as database:

            def ask(query: str, *values: str) -> list[tuple[str, ...]]:
                return database.execute(query, values).fetchall()

            ((identifier,),) = ask("SELECT run_uuid FROM runs WHERE name = ?", run)
            moves = ask("SELECT key, value FROM registered_model_tags WHERE name = 'wine'")
            return {
                "tags": {key for (key,) in ask("SELECT key FROM tags WHERE run_uuid = ?", identifier)},
                "parameters": {
                    key for (key,) in ask("SELECT key FROM params WHERE run_uuid = ?", identifier)
                },
                "metrics": {key for (key,) in ask("SELECT key FROM metrics WHERE run_uuid = ?", identifier)},
                "versions": {key for (key,) in ask("SELECT key FROM model_version_tags WHERE name = 'wine'")},
                "moves": {
                    part for key, value in moves for part in (key.partition(".")[0], *json.loads(value))
                },
            }

    then = keys(local / "state", "wine-20261128T235112-09e7")
    now = keys(next_run.state, next_run.result["run"])
    for table, names in then.items():
        assert names <= now[table], table


def test_steps_read_the_former_steps_outputs(with_registry: dict[str, str], tmp_path: Path) -> None:
    (run,) = Path(with_registry["CT_STATE"]).glob("runs/wine-20261128T235112-09e7/artifacts/*")
    evaluate = ("components.evaluate", "--workload", "wine", "--run-id", "wine-again")
    paths = ("--data", run / "prep-data" / "data", "--model", run / "train" / "model")
    # The model is the champion's own, which the step recognises by the digest of the bundle.
    python(*evaluate, *paths, "--output", tmp_path / "evaluation", env=with_registry)
    now = _json(tmp_path / "evaluation" / "evaluation.json")
    assert missing(_json(run / "evaluate" / "evaluation" / "evaluation.json"), now) == []

    archive = ("components.archive", "--model", run / "train" / "model")
    evaluation = ("--evaluation", run / "evaluate" / "evaluation")
    python(*archive, *evaluation, "--output", tmp_path / "archive", env=with_registry)
    archived, then = (
        _json(tmp_path / "archive" / "archived.json"),
        _json(run / "archive" / "archived" / "archived.json"),
    )
    assert archived["metrics"] == then["metrics"]
    assert archived["recipe"] == then["recipe"]


def test_the_plans_of_runs_have_the_former_keys(tmp_path: Path) -> None:
    plan = json_of("pipelines.run", "--workload", "digits", "--state", tmp_path, "--dry-run")
    then = document("documents/run-dry-run.json")
    assert set(plan) == set(then)
    assert plan["parameters"] == then["parameters"]


def test_the_parameters_of_the_workloads_are_the_same() -> None:
    def keys(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            row["name"]: (set(row), [(one["name"], one["default"]) for one in row["parameters"]])
            for row in rows
        }

    assert keys(json_of("workloads")) == keys(document("documents/workloads.json"))


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    """A Kubeflow Pipelines server with the pipeline and the schedules that the former version made."""
    with kfp_server() as server:
        for table, rows in document("cluster/schedules.json").items():
            setattr(server, {"recurring": "recurring_runs"}.get(table, table), rows)
        yield server


def test_schedules_are_recognised_as_made_from_the_file(kfp: KfpServer, tmp_path: Path) -> None:
    env = environment(KF_PIPELINES_ENDPOINT=kfp.url, HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "none"))
    before = {row["display_name"]: dict(row) for row in kfp.recurring_runs.values()}
    python("pipelines.schedule", "apply", "--file", FIXTURES / "schedules.yaml", env=env)
    assert len(kfp.recurring_runs) == len(before)
    # A replaced one has another identity, and another pipeline version if the compiled pipeline changed.
    changing = ("pipeline_version_reference", "recurring_run_id", "created_at", "updated_at")
    for row in kfp.recurring_runs.values():
        recorded = before[row["display_name"]]
        assert {key: row[key] for key in row if key not in changing} == {
            key: recorded[key] for key in recorded if key not in changing
        }
    python("pipelines.schedule", "pause", "nightly", env=env)
    assert {row["mode"] for row in kfp.recurring_runs.values()} == {"DISABLE"}
