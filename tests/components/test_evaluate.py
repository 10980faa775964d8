"""evaluate with a real registry: promotion, rejection, and the records of both."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import recall_score

from components.evaluate.__main__ import confusion_matrix, main
from components.evaluate.step import EvaluationResult
from components.prep_data.__main__ import main as prepare
from components.train.__main__ import main as train
from continuous_training.adapters.model_registry import CHAMPION, Registry
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import Bootstrap, Evaluation
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.artifacts.measurements import Interval, PairedTest, ServingCost
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import REJECTED
from continuous_training.evaluation.gate import promote_same_model
from continuous_training.serving.models.model import load_model
from workloads.contract import Column, PromotionRule, Workload

from .conftest import Line, replace_checksums

Make = Callable[..., Workload]


def mlflow_run(line: Line, pipeline_run: str) -> dict[str, Any]:
    """Return the MLflow run of a pipeline run."""
    url = f"{line.registry.uri}/api/2.0/mlflow/runs/get"
    run_id = line.registry.run(line.workload.name, pipeline_run)
    response = line.registry.session.get(url, params={"run_id": run_id}, timeout=10)
    return dict(response.json()["run"])


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_a_first_model_is_promoted_by_the_floors(line: Line) -> None:
    line.train("run-1")
    result = line.evaluate("run-1")
    assert result.promoted
    evaluation = result.evaluation
    assert Evaluation.read(line.folder / "run-1/evaluation/evaluation.json") == evaluation
    assert (evaluation.verdict, evaluation.champion, evaluation.difference) == ("promoted", None, None)
    assert list(evaluation.metrics) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert evaluation.metrics["accuracy"] == Interval(1.0, 1.0, 1.0)
    assert evaluation.reasons == tuple(map(str, result.decision.checks[:2]))
    # The input digest is recorded only after the rollout.
    history = RunHistory(line.store, line.workload.name)
    assert history.find_processed(evaluation.input_digest) is None
    assert history.run("run-1") is None
    tags = tags_of(mlflow_run(line, "run-1"))
    assert (tags["verdict"], tags["model_digest"]) == ("promoted", evaluation.model_digest)


def test_a_request_that_leads_to_other_outputs_is_rejected_with_tensor_and_row(
    line: Line, make: Make
) -> None:
    def request(self: Any, row: Any) -> Any:
        return {"x": [100 - x for x in row["x"].to_pylist()]}

    line.workload = make(request=request)
    line.train("run-1")
    result = line.evaluate("run-1")
    assert result.evaluation.verdict == "rejected"
    (check,) = result.decision.checks
    assert re.fullmatch(r"the tensor x differs for the row id=row \d+", check.measured)


def test_a_request_that_the_handler_rejects_is_an_error_with_its_row(line: Line, make: Make) -> None:
    def request(self: Any, row: Any) -> Any:
        # The golden requests are for other rows.
        return {"x": ["?"]} if row["id"][0].as_py() == rejected else {"x": row["x"].to_pylist()}

    line.train("run-1")
    holdout = Dataset.open(line.folder / "run-1/data").read("holdout")
    rejected = holdout["id"][holdout.num_rows // 32].as_py()
    line.workload = make(request=request)
    with pytest.raises(UserError, match=rf"rejects the request for the row id={rejected}: .*preprocess\(\)"):
        line.evaluate("run-1")


def test_a_flag_without_effect_may_differ_between_request_and_tensors(line: Line, make: Make) -> None:
    def tensors(self: Any, rows: Any) -> Any:
        return {"x": rows["x"].to_numpy() + 1e-9, "flag": np.ones(rows.num_rows)}

    line.workload = make(tensors=tensors)
    line.train("run-1")
    assert line.evaluate("run-1").promoted


def test_the_golden_answers_are_those_of_the_model(line: Line) -> None:
    line.train("run-1")
    line.evaluate("run-1")
    golden = json.loads((line.folder / "run-1/evaluation/golden.json").read_text())
    model = load_model(line.folder / "run-1/model")
    assert len(golden) == 8
    assert len({json.dumps(row["request"]) for row in golden}) == 8
    assert GoldenSet.from_json(golden).check(model.predict) == []
    assert {row["answer"]["label"][0] for row in golden} == {0, 1}


def test_the_report_is_in_the_output_and_in_the_registry(line: Line) -> None:
    line.train("run-1")
    line.evaluate("run-1")
    assert "<html" in (line.folder / "run-1/evaluation/report.html").read_text()
    run_id = line.registry.run(line.workload.name, "run-1")
    url = f"{line.registry.uri}/api/2.0/mlflow/artifacts/list"
    files = line.registry.session.get(url, params={"run_id": run_id}, timeout=10).json()["files"]
    assert {file["path"] for file in files} == {"report.html", "card.md", "evaluation.json", "dataset.json"}


def test_pipeline_run_and_mlflow_run_refer_to_each_other_and_to_the_dataset(line: Line) -> None:
    line.train("run-1", fence="70")
    evaluation = line.evaluate("run-1").evaluation
    run = mlflow_run(line, "run-1")
    assert run["info"]["run_id"] == evaluation.registry.run
    assert tags_of(run)["pipeline_run"] == "run-1"
    assert evaluation.registry.run in (line.folder / "run-1/evaluation/report.html").read_text()
    (logged,) = run["inputs"]["dataset_inputs"]
    assert logged["dataset"]["digest"] == evaluation.data.fingerprint[:36]
    assert json.loads(logged["dataset"]["source"]) == {"uri": "made:1000"}
    assert json.loads(logged["dataset"]["profile"])["holdout"]["rows"] == evaluation.rows
    change_rule(line, floor=1)
    line.train("run-3", fence="20")
    assert not line.evaluate("run-3").promoted
    record = RunHistory(line.store, line.workload.name).run("run-3")
    assert record is not None
    assert record.registry is not None
    assert record.registry.run == line.registry.run(line.workload.name, "run-3")


def test_a_better_challenger_is_promoted(line: Line) -> None:
    champion = line.promote("run-1", fence="70")
    line.train("run-2")
    evaluation = line.evaluate("run-2").evaluation
    assert evaluation.verdict == "promoted"
    assert evaluation.champion is not None
    assert (evaluation.champion.version, evaluation.champion.digest) == (champion.version, champion.digest)
    difference = evaluation.difference
    assert difference is not None
    assert 0 < difference.low < difference.value < difference.high
    champion_accuracy = evaluation.champion.metrics["accuracy"].value
    assert difference.value == pytest.approx(evaluation.metrics["accuracy"].value - champion_accuracy)
    assert evaluation.mcnemar_p is not None
    assert evaluation.mcnemar_p < 0.001
    assert evaluation.test == PairedTest("McNemar's exact test", evaluation.mcnemar_p)


def test_a_worse_challenger_is_rejected_and_recorded(line: Line) -> None:
    champion = line.promote("run-1")
    line.train("run-2", fence="70")
    result = line.evaluate("run-2")
    evaluation = result.evaluation
    assert evaluation.verdict == "rejected"
    assert [check.passed for check in result.decision.checks[:2]] == [True, False]
    history = RunHistory(line.store, line.workload.name)
    by_digest, by_run = history.find_processed(evaluation.input_digest), history.run("run-2")
    assert by_digest is not None
    assert by_run is not None
    assert (by_digest.record.run, by_digest.record.verdict) == ("run-2", "rejected")
    assert by_digest.record.reasons == evaluation.reasons
    assert by_run.champion is not None
    assert (by_run.verdict, by_run.champion.version) == ("rejected", champion.version)
    run = mlflow_run(line, "run-2")
    assert run["info"]["status"] == "FINISHED"
    tags = tags_of(run)
    assert (tags["verdict"], tags["reasons"]) == ("rejected", "; ".join(evaluation.reasons))
    assert tags["recipe"] == evaluation.input_digest
    assert tags["data_fingerprint"] == evaluation.data.fingerprint
    assert {p["key"]: p["value"] for p in run["data"]["params"]}["fence"] == "70.0"
    version = line.registry.champion(line.workload.name)
    assert version is not None
    assert version.version == champion.version


def test_a_registry_that_lost_its_versions_is_an_error(line: Line) -> None:
    RunHistory(line.store, line.workload.name).write_run(
        RunRecord(run="run-0", verdict="promoted", version="3", digest="ab" * 32)
    )
    line.train("run-1")
    with pytest.raises(UserError, match=r"run run-0 promoted version 3 \(abababababab\)"):
        line.evaluate("run-1")


def test_a_first_promotion_that_was_interrupted_leaves_no_champion(line: Line) -> None:
    """The run died after it had recorded the move, before the alias moved: the floors decide again."""
    line.promote("run-1")
    line.registry.remove_alias(line.workload.name, CHAMPION)
    line.train("run-2", fence="60")
    result = line.evaluate("run-2")
    assert result.evaluation.champion is None
    assert result.decision.checks[1].name == "champion"


class TestLostChampion:
    """The champion's alias is absent. The floors alone decide only if a person has given the champion up."""

    @staticmethod
    def delete_version(line: Line, version: str) -> None:
        body = {"name": line.workload.name, "version": version}
        line.registry.send("DELETE", "mlflow/model-versions/delete", json=body)

    @staticmethod
    def remove_alias(line: Line, _: str) -> None:
        line.registry.remove_alias(line.workload.name, CHAMPION)

    @staticmethod
    def remove_alias_of_a_recorded_promotion(line: Line, version: str) -> None:
        record = RunRecord(run="run-2", verdict="promoted", version=version)
        RunHistory(line.store, line.workload.name).write_run(record)
        line.registry.remove_alias(line.workload.name, CHAMPION)

    def error(self, line: Line, run: str) -> str:
        line.train(run, fence="60")
        with pytest.raises(UserError) as raised:
            line.evaluate(run)
        assert not (line.folder / run / "evaluation").exists()
        assert line.registry.champion(line.workload.name) is None
        return str(raised.value)

    @pytest.mark.parametrize("lose", [delete_version, remove_alias, remove_alias_of_a_recorded_promotion])
    def test_no_model_is_evaluated(self, line: Line, lose: Callable[[Line, str], None]) -> None:
        name = line.workload.name
        line.promote("run-1", fence="70")
        line.promote("run-2", fence="55")
        lose(line, "2")
        message = self.error(line, "run-3")
        assert f"{name} has no champion" in message
        assert "version 2 was its champion" in message
        candidate = line.registry.versions(name)[-1].version
        assert f"\npython -m pipelines.rollback --workload {name} --to {candidate}\n" in message

        tag = {"name": name, "key": "retired_champion", "value": "1"}
        line.registry.post("registered-models/set-tag", tag)
        assert "version 2 was its champion" in self.error(line, "run-4")
        line.registry.post("registered-models/set-tag", {**tag, "value": "2"})
        line.train("run-5", fence="60")
        result = line.evaluate("run-5")
        assert (result.promoted, result.evaluation.champion) == (True, None)
        assert "version 2 was given up as champion" in "; ".join(result.evaluation.reasons)

    def test_the_only_champion_was_deleted_while_another_version_remains(self, line: Line) -> None:
        line.up_to_archive("run-1", fence="60")
        line.promote("run-2", fence="70")
        self.delete_version(line, "2")
        message = self.error(line, "run-3")
        assert "version 2 was its champion" in message
        assert "pipelines.rollback" not in message
        assert f"set the tag retired_champion of the registered model {line.workload.name} to 2" in message


def test_a_model_identical_to_the_champion_is_promoted(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2")
    assert line.evaluate("run-2").decision == promote_same_model("1")
    assert line.archive("run-2").version == "1"


def test_a_tie_with_another_model_is_rejected(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2", fence="49.99")
    result = line.evaluate("run-2")
    assert result.evaluation.verdict == "rejected"
    assert result.decision.checks[1].measured == "no difference on any row"
    assert result.evaluation.mcnemar_p == 1.0


def test_a_second_evaluation_gives_the_same_result(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2", fence="70")
    first, second = (line.evaluate("run-2").evaluation for _ in range(2))
    assert first == second


@pytest.mark.parametrize("rule", [{"floor": 0.9}, {"minimum_rows": 10_000}])
def test_a_first_model_below_a_floor_is_rejected(line: Line, make: Make, rule: dict[str, Any]) -> None:
    line.workload = make(rule=replace(line.workload.rule, **rule))
    line.train("run-1", fence="70")
    assert not line.evaluate("run-1").promoted


@pytest.mark.parametrize(
    ("slope", "verdict", "checks"),
    [
        ("2.2", "promoted", {"mse": True, "mse against champion 1 on the same rows": True}),
        ("-1", "rejected", {"mse": True, "mse against champion 1 on the same rows": False}),
        ("nan", "rejected", {"finite numbers": False}),
    ],
)
def test_an_error_metric_decides_in_the_other_direction_and_nan_is_rejected(
    line: Line, make: Make, slope: str, verdict: str, checks: dict[str, bool]
) -> None:
    line.workload = make("line")
    line.promote("run-1")
    line.train("run-2", slope=slope)
    result = line.evaluate("run-2")
    evaluation = result.evaluation
    assert evaluation.verdict == verdict
    assert {check.name: check.passed for check in result.decision.checks[:2]} == checks
    assert next(iter(evaluation.metrics)) == "mse"
    assert set(evaluation.slices) == {"left", "one row"}
    assert evaluation.mcnemar_p is None
    if slope == "nan":
        names = "mse, r2, mae, left, the comparison with the champion"
        assert names in result.decision.checks[0].measured
        record = json.loads((line.folder / "run-2/evaluation/evaluation.json").read_text())
        assert record["metrics"]["mse"] == {"value": None, "low": None, "high": None}
        golden = json.loads((line.folder / "run-2/evaluation/golden.json").read_text())
        assert golden[0]["answer"] == {"y": [None]}


def change_rule(line: Line, **changes: Any) -> None:
    """Change the promotion rule of the workload, and thereby its run parameters."""
    base = type(line.workload)
    # The input digest covers the folder of the module.
    attributes = {"rule": replace(base.rule, **changes), "__module__": base.__module__}
    line.workload = type("RuleVariant", (base,), attributes)()


def test_a_run_may_override_the_rule_and_the_evaluation_records_it(line: Line) -> None:
    line.promote("run-1")
    tie = {"fence": "49.99"}
    line.train("run-2", **tie)
    assert not line.evaluate("run-2").promoted
    overrides = {
        "gate_superiority": "false",
        "gate_margin": "0.05",
        "gate_confidence": "0.9",
        "gate_rows": "52",
    }
    line.train("run-3", **tie, **overrides)
    evaluation = line.evaluate("run-3").evaluation
    assert evaluation.verdict == "promoted"
    rule = {"superiority": False, "margin": 0.05, "confidence": 0.9, "floor": 0.6, "metric": "accuracy"}
    assert {key: evaluation.rule[key] for key in rule} == rule
    assert evaluation.bootstrap == Bootstrap(confidence=0.9, resamples=2000, seed=0)
    logged = {p["key"]: p["value"] for p in mlflow_run(line, "run-3")["data"]["params"]}
    assert (logged["gate_margin"], logged["gate_superiority"], logged["fence"]) == ("0.05", "False", "49.99")
    assert not any(name.startswith("gate_") for name in evaluation.parameters)
    with pytest.raises(UserError, match=r"the margin of 0\.01 needs at least 381 holdout rows"):
        line.train("run-4", **tie, gate_superiority="false", gate_margin="0.01")


def test_a_guard_metric_rejects_a_model_that_passes_the_primary_metric(line: Line, make: Make) -> None:
    line.workload = make("line", rule=replace(make("line").rule, guards={"mae": 0.001}))
    line.promote("run-1", slope="2.2")
    line.train("run-2", slope="1.6")
    result = line.evaluate("run-2")
    assert result.evaluation.verdict == "rejected"
    failed = [(check.name, check.limit) for check in result.decision.checks if not check.passed]
    assert failed == [
        ("mae against champion 1 on the same rows (guard)", "not worse by more than 0.001"),
        ("score test of the margin (guard mae)", "p at most 0.05"),
    ]
    assert set(result.evaluation.guards) == {"mae"}
    assert result.evaluation.guard_tests["mae"].name == "score test of the margin"
    line.train("run-3", slope="1.6", gate_guards="")
    assert line.evaluate("run-3").promoted


def costs_of(result: EvaluationResult) -> tuple[ServingCost, ServingCost]:
    """Return the costs of challenger and champion."""
    cost, champion_cost = result.evaluation.cost, result.evaluation.champion_cost
    assert cost is not None
    assert champion_cost is not None
    return cost, champion_cost


def test_latency_is_measured_only_for_a_latency_budget(line: Line) -> None:
    line.promote("run-1", fence="70")
    line.train("run-2")
    costs = costs_of(line.evaluate("run-2"))
    assert [cost.latency_ms for cost in costs] == [None, None]
    assert costs[0].size_mb == pytest.approx(costs[1].size_mb, rel=0.01)
    generous = {"gate_latency_ms": "1000", "gate_latency_ratio": "100", "gate_size_mb": "1"}
    line.train("run-3", **generous)
    result = line.evaluate("run-3")
    assert result.evaluation.verdict == "promoted"
    latency = costs_of(result)[0].latency_ms
    assert latency is not None
    assert 0 < latency < 1000
    line.train("run-4", gate_latency_ms="1e-9", gate_size_mb="1e-9", gate_size_ratio="0.5")
    failed = [check.name for check in line.evaluate("run-4").decision.checks if not check.passed]
    assert failed == ["request latency", "model size", "model size against champion 1"]


def test_changed_holdout_rows_are_noted_and_both_models_are_scored_on_the_current_rows(line: Line) -> None:
    line.promote("run-1", fence="70")
    line.train("run-2", source="made:1500")
    evaluation = line.evaluate("run-2").evaluation
    assert evaluation.verdict == "promoted"
    assert "(214 rows then, 320 now)" in evaluation.reasons[-1]
    assert evaluation.rows == 320


def test_a_champion_with_another_split_is_noted(line: Line) -> None:
    line.promote("run-1", fence="70")
    line.train("run-2", test_size="0.5")
    assert "trained with another split" in line.evaluate("run-2").evaluation.reasons[-1]


def test_a_small_slice_without_a_value_is_ignored(line: Line, make: Make) -> None:
    line.workload = make("line", rule=replace(make("line").rule, metric="r2", floor=0.5))
    line.train("run-1")
    evaluation = line.evaluate("run-1").evaluation
    assert evaluation.verdict == "promoted"
    assert not math.isfinite(evaluation.slices["one row"].value)


def test_a_learning_curve_with_missing_values_is_drawn(line: Line) -> None:
    line.train("run-1")
    path = line.folder / "run-1/model/model.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"curve": [{"step": 1, "error": None}, {"step": 2, "error": 0.5}]}))
    replace_checksums(path.parent)
    assert line.evaluate("run-1").promoted


class TestChampionThatCannotBeLoaded:
    """No challenger is promoted, and the served version stays."""

    def error(self, line: Line) -> str:
        line.train("run-2")
        with pytest.raises(UserError) as raised:
            line.evaluate("run-2")
        assert not (line.folder / "run-2/evaluation").exists()
        assert RunHistory(line.store, line.workload.name).run("run-2") is None
        champion = line.registry.champion(line.workload.name)
        assert champion is not None
        assert champion.version == "1"
        message = str(raised.value)
        assert message.startswith(f"champion version 1 of {line.workload.name} cannot be loaded")
        assert f"python -m pipelines.rollback --workload {line.workload.name} --to 1" in message
        return message

    def test_missing_archive(self, line: Line) -> None:
        archived = line.promote("run-1", fence="70")
        (line.store.root / archived.key).unlink()
        assert f"there is no {archived.key}" in self.error(line)

    @pytest.mark.parametrize("damage", [b"x", b""])
    def test_modified_archive(self, line: Line, damage: bytes) -> None:
        archived = line.promote("run-1", fence="70")
        path = line.store.root / archived.key
        path.write_bytes(path.read_bytes() + damage if damage else b"")
        assert archived.digest[:12] in self.error(line)

    def test_version_without_an_archive(self, line: Line) -> None:
        archived = line.promote("run-1", fence="70")
        line.registry.post(
            "model-versions/set-tag",
            {"name": line.workload.name, "version": archived.version, "key": "archive_key", "value": "gone"},
        )
        line.registry.send(
            "DELETE",
            "mlflow/model-versions/delete-tag",
            json={"name": line.workload.name, "version": archived.version, "key": "archive_key"},
        )
        assert "has no tag archive_key" in self.error(line)


def test_data_and_model_of_different_runs_are_an_error(line: Line, make: Make) -> None:
    line.train("run-1")
    line.train("run-2", fence="60")
    shutil.rmtree(line.folder / "run-1/model")
    shutil.copytree(line.folder / "run-2/model", line.folder / "run-1/model")
    with pytest.raises(UserError, match="was trained on other data than"):
        line.evaluate("run-1")
    line.workload = make(name="other")
    with pytest.raises(UserError, match=r"belongs to the workload model\d+, not to other"):
        line.evaluate("run-2")


def test_a_rule_with_an_unknown_metric_is_an_error(line: Line, make: Make) -> None:
    line.workload = make(rule=replace(line.workload.rule, metric="f1"))
    line.train("run-1")
    with pytest.raises(UserError, match="names the metric 'f1', which classification does not have"):
        line.evaluate("run-1")


def test_a_handler_without_one_value_per_row_is_an_error(line: Line, make: Make) -> None:
    message = r"returns side with shape None; it must return one value per row"
    line.train("run-1")
    line.workload = make(prediction="side")
    with pytest.raises(UserError, match=message):
        line.train("run-2")


def test_the_confusion_matrix_counts_actual_by_predicted(line: Line) -> None:
    line.train("run-1", fence="70")
    predictions = line.evaluate("run-1").predictions
    labels, counts = confusion_matrix(line.workload, predictions)
    actual, predicted = predictions.actual, predictions.challenger
    assert labels == ["0", "1"]
    assert counts[1][0] == int(((actual == 1) & (predicted == 0)).sum()) > 0
    assert counts[0][1] == 0
    assert sum(map(sum, counts)) == len(actual)


def test_the_exit_code_is_0_for_a_promotion_and_3_for_a_rejection(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.setenv("CT_STORE", str(tmp_path / "store"))
    data, model, output = (str(tmp_path / part) for part in ("data", "model", "evaluation"))
    arguments = ["--workload", "fence", "--data", data, "--model", model, "--output", output]
    for fence, code, verdict in (("50", 0, "promoted"), ("90", REJECTED, "rejected")):
        assert prepare(["--workload", "fence", "--output", data, "--set", f"fence={fence}"]) == 0
        assert train(["--workload", "fence", "--data", data, "--output", model]) == 0
        capsys.readouterr()
        assert main([*arguments, "--run-id", f"run-{fence}"]) == code
        out = capsys.readouterr().out
        assert out.startswith(f"{verdict}: accuracy: ")
        assert out.endswith(f"report: {output}/report.html\n")
    assert RunHistory(FolderStore(tmp_path / "store"), "fence").run("run-90") is not None
    assert registry.aliased("fence", CHAMPION) is None
    assert main([*arguments[:3], str(tmp_path / "nothing"), *arguments[4:]]) == 2
    assert "contains no dataset" in capsys.readouterr().err


def test_the_report_shows_misclassified_images(line: Line, make: Make) -> None:
    def pictures(self: Any, rows: Any) -> np.ndarray:
        return np.repeat(rows["x"].to_numpy().astype(np.uint8), 4).reshape(-1, 2, 2)

    line.train("run-1", fence="45")
    report = line.folder / "run-1/evaluation/report.html"
    line.evaluate("run-1")
    assert "Worst errors" not in report.read_text(), "the rows are not images"
    line.workload = make(pictures=pictures)
    line.evaluate("run-1")
    text = report.read_text()
    count = text.count("<b>0 predicted as 1</b>")
    assert count == text.count("data:image/png;base64,") > 3
    assert f"{count} of the" in text or f"All {count} rows" in text


def test_a_declared_label_without_holdout_rows_counts_as_0(line: Line, make: Make) -> None:
    columns = (*make().columns[:2], Column("label", "integer", values=(0, 1, 2)))
    rule = PromotionRule(metric="balanced_accuracy", floor=0.9, minimum_rows=20)
    for missing in (False, True):
        minimum, declared = (0, columns) if missing else (1, make().columns)
        line.workload = make(rule=rule, minimum_class_rows=minimum, columns=declared, slices=halves)
        run = f"missing-{missing}"
        line.train(run)
        result = line.evaluate(run)
        evaluation = result.evaluation
        expected = recall_score([0, 1], [0, 1], labels=declared[2].values, average="macro", zero_division=0)
        assert evaluation.metrics["balanced_accuracy"].value == pytest.approx(expected)
        assert evaluation.metrics["macro_f1"].value == pytest.approx(expected)
        assert evaluation.metrics["accuracy"].value == 1.0
        # Each half of the rows has one label value by construction.
        assert {part.value for part in evaluation.slices.values()} == {1.0}
        assert result.promoted is not missing


def test_text_of_another_domain_with_the_same_lengths_is_reported_as_drift(line: Line, make: Make) -> None:
    def change_texts(alphabet: str) -> None:
        def load(self: Any, source: str, values: Any, context: Any) -> Any:
            for rows in type(make()).load(self, source, values, context):
                first = int(rows.batch["id"][0].as_py().removeprefix("row "))
                numbers = np.random.default_rng(first).integers(0, 5, (rows.batch.num_rows, 12))
                # Words of three characters, of which there are 125.
                texts = [
                    " ".join(map("".join, np.array(list(alphabet))[row].reshape(4, 3))) for row in numbers
                ]
                yield replace(rows, batch=rows.batch.add_column(2, "text", pa.array(texts)))

        columns = make().columns
        line.workload = make(columns=(*columns[:2], Column("text", "text"), columns[2]), load=load)

    change_texts("abcde")
    line.promote("run-1")
    change_texts("vwxyz")
    line.train("run-2", fence="51")
    drift = {column.column: column for column in line.evaluate("run-2").evaluation.drift}
    assert drift["text words"].level == "large"
    assert {column.level for name, column in drift.items() if name != "text words"} == {"stable"}


def halves(self: Workload, rows: pa.Table) -> dict[str, np.ndarray]:
    return {f"label {label}": rows["label"].to_numpy() == label for label in (0, 1)}


def test_each_slice_has_an_interval_of_its_own(line: Line, make: Make) -> None:
    line.workload = make("line", rule=replace(make("line").rule, metric="mse", floor=100.0))
    line.train("run-1")
    part = line.evaluate("run-1").evaluation.slices["left"]
    assert part.low <= part.value <= part.high
    assert "| left |" in (line.folder / "run-1/evaluation/card.md").read_text()
