"""The stored evaluation: the same keys as before, errors with file and field, older files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.evaluation import (
    Bootstrap,
    EvaluatedChampion,
    EvaluatedData,
    Evaluation,
    TrackingRun,
)
from continuous_training.artifacts.measurements import (
    ColumnDrift,
    Interval,
    PairedTest,
    ServingCost,
    SliceMetric,
)
from continuous_training.artifacts.population import ColumnMove, PopulationChange, ScoreChange
from continuous_training.core.json_object import JsonObject

EVALUATION = Evaluation(
    workload="digits",
    run="run-2",
    verdict="promoted",
    reasons=("accuracy: 0.98; required: at least 0.9",),
    rule={"metric": "accuracy", "floor": 0.9, "guards": {}},
    metrics={"accuracy": Interval(0.98, 0.97, 0.99)},
    champion=EvaluatedChampion("1", "abc", {"accuracy": Interval(0.9, 0.88, 0.92)}),
    difference=Interval(0.08, 0.05, 0.1),
    guards={"macro_f1": Interval(0.08, 0.05, 0.1)},
    guard_tests={"macro_f1": PairedTest("score test of the margin", 0.01)},
    test=PairedTest("McNemar's exact test", 0.001),
    mcnemar_p=0.001,
    cost=ServingCost(None, 1.5),
    champion_cost=ServingCost(2.0, 1.0),
    bootstrap=Bootstrap(0.95, 2000, 0),
    slices={"digit 1": SliceMetric(40, 0.95, 0.9, 0.9, 1.0)},
    rows=360,
    input_digest="input",
    model_digest="model",
    parameters={"seed": 0, "source": "", "force": False, "test_size": 0.2},
    data=EvaluatedData("fingerprint", "embedded", "2026-01-01T00:00:00Z", "sha256(id)", False),
    code="code",
    registry=TrackingRun("f00", "http://127.0.0.1:5000/#/run"),
    population=PopulationChange(
        champion="1",
        rows=1797,
        champion_rows=1790,
        score=ScoreChange("accuracy", Interval(0.98, 0.97, 0.99), Interval(0.1, 0.05, 0.15), 0.88, 30.5),
        columns=(
            ColumnMove("image", 1.1, 0.9),
            ColumnMove("label", lost_values=0.1),
            ColumnMove("text words", vocabulary_change=0.95),
        ),
        exceeded=("accuracy of champion 1 was 0.98 when it was promoted and is 0.1 today",),
        not_compared=("the champion's data have no comparable statistics of ink",),
    ),
    accepted="new scanner",
    drift=(ColumnDrift("image", 0.01, 0.005, "KS", 0.02, 0.5, "stable", 4.8, 4.9),),
)


def record() -> dict[str, Any]:
    text = json.dumps(EVALUATION.to_json(), allow_nan=False)
    return dict(json.loads(text))


def read(data: object) -> Evaluation:
    return Evaluation.from_json(JsonObject(data, "evaluation.json", ArtifactError))


def test_a_stored_evaluation_is_read_back() -> None:
    assert read(record()) == EVALUATION
    assert EVALUATION.promoted


def test_the_stored_keys() -> None:
    data = record()
    assert set(data) == {
        "accepted", "bootstrap", "champion", "champion_cost", "code", "cost", "data", "difference", "drift",
        "format", "guard_tests", "guards", "mcnemar_p", "metrics", "model_digest", "modules", "parameters",
        "population", "reasons", "recipe", "registry", "rows", "rule", "run", "slices", "test", "verdict",
        "workload",
    }  # fmt: skip
    assert (data["recipe"], data["drift"][0]["word"]) == ("input", "stable")
    assert data["metrics"] == {"accuracy": {"value": 0.98, "low": 0.97, "high": 0.99}}
    assert data["slices"]["digit 1"] == {
        "rows": 40, "value": 0.95, "champion": 0.9, "low": 0.9, "high": 1.0,
    }  # fmt: skip
    assert set(data["data"]) == {"fingerprint", "source", "as_of", "split_rule", "sample"}


def test_nan_is_stored_as_null() -> None:
    data = record() | {"metrics": {"mse": {"value": None, "low": None, "high": None}}}
    evaluation = read(data)
    assert math.isnan(evaluation.metrics["mse"].value)
    assert evaluation.to_json()["metrics"] == data["metrics"]


def test_a_file_of_an_older_version_is_read() -> None:
    data = record()
    del data["format"], data["drift"], data["data"]["sample"], data["guard_tests"]
    del data["modules"]
    del data["slices"]["digit 1"]["low"], data["slices"]["digit 1"]["high"]
    data |= {"champion": None, "difference": None, "test": None}
    evaluation = read(data)
    assert (evaluation.drift, evaluation.data.sample, evaluation.champion) == ((), False, None)
    assert math.isnan(evaluation.slices["digit 1"].low)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"verdict": None}, "verdict"),
        ({"reasons": [1]}, "reasons"),
        ({"metrics": {"accuracy": {"value": "high", "low": 0, "high": 1}}}, "metrics.accuracy.value"),
        ({"metrics": []}, "metrics"),
        ({"champion": {"version": 1, "digest": "", "metrics": {}}}, "champion.version"),
        ({"slices": {"digit 1": {"rows": 1.5, "value": 1}}}, "slices.digit 1.rows"),
        ({"drift": [{"column": "image"}]}, r"drift\[0\].test"),
        ({"rows": True}, "rows"),
        ({"format": 2}, "format"),
    ],
)
def test_a_damaged_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ArtifactError, match=f"evaluation.json: {field} "):
        read(record() | change)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    with pytest.raises(ArtifactError, match=str(path)):
        Evaluation.read(path)
    path.write_text("{")
    with pytest.raises(ArtifactError, match=str(path)):
        Evaluation.read(path)


def test_an_older_file_has_no_population_and_an_infinite_ratio_is_not_stored() -> None:
    data = record()
    del data["population"], data["accepted"]
    assert (read(data).population, read(data).accepted) == (None, "")
    constant = replace(
        EVALUATION, population=PopulationChange("1", 9, None, columns=(ColumnMove("x", 2, math.inf),))
    )
    stored = read(json.loads(json.dumps(constant.to_json()))).population
    assert stored == PopulationChange("1", 9, None, columns=(ColumnMove("x", 2),))
