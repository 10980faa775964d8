"""Requests that record a run, answered with the tables of a local registry.

They store what MLflow 3.17 stores. MLflow's server answers a request with an effect that depends on more than
the tables of a new run: a run that already has values, a run or an experiment that was deleted, an invalid
name. It also deletes runs.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

from continuous_training.adapters.experiment_tracking import now_ms
from continuous_training.core.json_object import Json

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .:-]{0,249}")
"""The names of parameters, metrics and tags that need no further check."""

_MAX_VALUE = 6000
"""MLflow shortens or refuses longer values of parameters and tags."""

_PROXY = re.compile(r"mlflow-artifacts:/[A-Za-z0-9_/-]*[A-Za-z0-9]")
_RUN_FILTER = re.compile(r"tags\.pipeline_run = '([^'\\%]+)'")
_RUN_ORDER = ["attributes.start_time ASC", "attributes.run_id ASC"]

_HAS_EXPERIMENT = "SELECT EXISTS (SELECT 1 FROM experiments WHERE workspace = 'default' AND name = :name)"
_CREATE_EXPERIMENT = """
INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time)
VALUES (:name, 'active', :now, :now)
"""
_SET_LOCATION = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
_LOCATION = """
SELECT artifact_location FROM experiments
WHERE experiment_id = ? AND workspace = 'default' AND lifecycle_stage = 'active'
"""
_FIND_RUNS = """
SELECT run_uuid FROM runs JOIN tags USING (run_uuid)
WHERE experiment_id = ? AND lifecycle_stage = 'active' AND tags.key = 'pipeline_run' AND tags.value = ?
ORDER BY start_time, run_uuid LIMIT ?
"""
_CREATE_RUN = """
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,
    source_version, lifecycle_stage, artifact_uri, experiment_id)
VALUES (?, ?, 'UNKNOWN', '', '', '', 'RUNNING', ?, '', 'active', ?, ?)
"""
_ACTIVE_RUN = "SELECT experiment_id FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
_HAS_VALUES = """
SELECT EXISTS (SELECT 1 FROM params WHERE run_uuid = :run)
    OR EXISTS (SELECT 1 FROM metrics WHERE run_uuid = :run)
"""
_SET_TAG = "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)"
_ADD_PARAMETER = "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)"
_ADD_METRIC = """
INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)
"""
_DATASET = "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?"
_ADD_DATASET = """
INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source,
    dataset_profile)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_HAS_INPUT = "SELECT EXISTS (SELECT 1 FROM inputs WHERE destination_type = 'RUN' AND destination_id = :run)"
_ADD_INPUT = """
INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id)
VALUES (?, 'DATASET', ?, 'RUN', ?)
"""
_ADD_INPUT_TAG = "INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, ?)"
_END_RUN = "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?"

Item = Mapping[str, object]


def records(path: str) -> bool:
    """Return whether `record` may answer a POST request to this path."""
    return path in _HANDLERS


def record(connection: sqlite3.Connection, path: str, body: Json) -> Json | None:
    """Return the body of the response to a POST request, or None if only MLflow's server can answer it.

    The caller commits the transaction, or rolls it back for None. Raises LookupError for a missing field,
    ValueError for another number of datasets than one, and sqlite3.Error.
    """
    return _HANDLERS[path](connection, body)


def _create_experiment(connection: sqlite3.Connection, body: Json) -> Json | None:
    name = body["name"]
    is_valid = set(body) == {"name"} and _NAME.fullmatch(name)
    if not is_valid or exists(connection, _HAS_EXPERIMENT, name=name):
        return None
    experiment = connection.execute(_CREATE_EXPERIMENT, {"name": name, "now": now_ms()}).lastrowid
    connection.execute(_SET_LOCATION, (f"mlflow-artifacts:/{experiment}", experiment))
    return {"experiment_id": str(experiment)}


def _search_runs(connection: sqlite3.Connection, body: Json) -> Json | None:
    match = _RUN_FILTER.fullmatch(body["filter"])
    if match is None or len(body["experiment_ids"]) != 1 or body["order_by"] != _RUN_ORDER:
        return None
    parameters = (body["experiment_ids"][0], match[1], body["max_results"])
    return {"runs": [{"info": {"run_id": run}} for (run,) in connection.execute(_FIND_RUNS, parameters)]}


def _create_run(connection: sqlite3.Connection, body: Json) -> Json | None:
    experiment, name, tags = body["experiment_id"], body["run_name"], body["tags"]
    location = connection.execute(_LOCATION, (experiment,)).fetchone()
    if not (location and _PROXY.fullmatch(location[0]) and 0 < len(name) <= 250 and are_valid_tags(tags)):
        return None
    run = uuid4().hex
    artifacts = f"{location[0]}/{run}/artifacts"
    connection.execute(_CREATE_RUN, (run, name, body["start_time"], artifacts, experiment))
    _set_tags(connection, run, [*tags, {"key": "mlflow.runName", "value": name}])
    return {"run": {"info": {"run_id": run}}}


def _log_batch(connection: sqlite3.Connection, body: Json) -> Json | None:
    run, metrics, parameters, tags = body["run_id"], body["metrics"], body["params"], body["tags"]
    is_new = connection.execute(_ACTIVE_RUN, (run,)).fetchone() and not exists(
        connection, _HAS_VALUES, run=run
    )
    are_valid = are_valid_tags(parameters) and are_valid_tags(tags) and _are_finite(metrics)
    if not (is_new and are_valid and len(metrics) + len(parameters) + len(tags) <= 1000):
        return None
    connection.executemany(_ADD_PARAMETER, [(item["key"], item["value"], run) for item in parameters])
    values = [(item["key"], item["value"], item["timestamp"], item["step"], run) for item in metrics]
    for table in ("metrics", "latest_metrics"):
        connection.executemany(_ADD_METRIC.format(table=table), values)
    _set_tags(connection, run, tags)
    return {}


def _log_inputs(connection: sqlite3.Connection, body: Json) -> Json | None:
    run, (added,) = body["run_id"], body["datasets"]
    experiment, dataset = connection.execute(_ACTIVE_RUN, (run,)).fetchone(), added["dataset"]
    if experiment is None or exists(connection, _HAS_INPUT, run=run) or not _is_valid_dataset(dataset):
        return None
    identity = (experiment[0], dataset["name"], dataset["digest"])
    existing = connection.execute(_DATASET, identity).fetchone()
    dataset_id, input_id = existing[0] if existing else uuid4().hex, uuid4().hex
    if not existing:
        content = (dataset["source_type"], dataset["source"], dataset["profile"])
        connection.execute(_ADD_DATASET, (dataset_id, *identity, *content))
    connection.execute(_ADD_INPUT, (input_id, dataset_id, run))
    tags = [(input_id, tag["key"], tag["value"]) for tag in added["tags"]]
    connection.executemany(_ADD_INPUT_TAG, tags)
    return {}


def _end_run(connection: sqlite3.Connection, body: Json) -> Json | None:
    run, status = body["run_id"], body["status"]
    if connection.execute(_ACTIVE_RUN, (run,)).fetchone() is None or status not in ("FINISHED", "FAILED"):
        return None
    connection.execute(_END_RUN, (status, body["end_time"], run))
    return {}


def _set_tags(connection: sqlite3.Connection, run: str, tags: Sequence[Item]) -> None:
    connection.executemany(_SET_TAG, [(tag["key"], tag["value"], run) for tag in tags])


def exists(connection: sqlite3.Connection, query: str, **parameters: object) -> bool:
    """Return the result of a query of the form SELECT EXISTS (...), with named parameters."""
    return bool(connection.execute(query, parameters).fetchone()[0])


def are_valid_tags(items: Sequence[Item]) -> bool:
    """Return whether MLflow stores these tags or parameters unchanged."""
    names = [str(item["key"]) for item in items]
    are_names = all(_NAME.fullmatch(name) and not name.startswith("mlflow.") for name in names)
    return are_names and len(set(names)) == len(names) and all(_is_value(item["value"]) for item in items)


def _is_value(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_VALUE


def _are_finite(metrics: Sequence[Item]) -> bool:
    """Return whether these are finite metrics with different names, which MLflow stores unchanged."""
    names = {str(item["key"]) for item in metrics}
    values = [item["value"] for item in metrics]
    are_numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return are_numbers and len(names) == len(metrics) and all(map(_NAME.fullmatch, names))


def _is_valid_dataset(dataset: Item) -> bool:
    name, digest, source = str(dataset["name"]), str(dataset["digest"]), str(dataset["source"])
    return 0 < len(name) <= 250 and 0 < len(digest) <= 36 and 0 < len(source) <= _MAX_VALUE


_HANDLERS: dict[str, Callable[[sqlite3.Connection, Json], Json | None]] = {
    "experiments/create": _create_experiment,
    "runs/search": _search_runs,
    "runs/create": _create_run,
    "runs/log-batch": _log_batch,
    "runs/log-inputs": _log_inputs,
    "runs/update": _end_run,
}
