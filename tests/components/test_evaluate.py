"""evaluate, against a real registry: who is promoted, who is rejected, and what is remembered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluate.__main__ import confusion, main
from components.prep_data.__main__ import main as prepare
from components.train.__main__ import main as train
from continuous_training.adapters.model_registry import CHAMPION, Registry
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import REJECTED
from continuous_training.serving.models.model import load_model
from workloads.contract import Workload

from .conftest import Line

Make = Callable[..., Workload]


def run_of(line: Line, run: str) -> dict[str, Any]:
    """The MLflow run of a pipeline run."""
    url = f"{line.registry.uri}/api/2.0/mlflow/runs/get"
    run_id = line.registry.run(line.workload.name, run)
    found: dict[str, Any] = line.registry.session.get(url, params={"run_id": run_id}, timeout=10).json()[
        "run"
    ]
    return found


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_a_first_model_is_promoted_by_the_floors(line: Line) -> None:
    line.train("run-1")
    evaluation = line.evaluate("run-1")
    assert evaluation.promoted
    said = json.loads((line.folder / "run-1/evaluation/evaluation.json").read_text())
    assert said == evaluation.description
    assert (said["verdict"], said["champion"], said["difference"]) == ("promoted", None, None)
    assert list(said["metrics"]) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert said["metrics"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert "there is no champion yet" in said["reasons"][-1]
    # The rollout has not happened yet, so nothing is settled.
    records = RunHistory(line.store, line.workload.name)
    assert records.judged(said["recipe"]) is None
    assert records.run("run-1") is None
    tags = tags_of(run_of(line, "run-1"))
    assert (tags["verdict"], tags["model_digest"]) == ("promoted", said["model_digest"])


def test_the_golden_answers_are_the_models_own(line: Line) -> None:
    line.train("run-1")
    line.evaluate("run-1")
    golden = json.loads((line.folder / "run-1/evaluation/golden.json").read_text())
    model = load_model(line.folder / "run-1/model")
    assert len(golden) == 8
    assert len({json.dumps(row["request"]) for row in golden}) == 8
    assert GoldenSet.from_json(golden).check(model.predict) == []
    assert {row["answer"]["label"][0] for row in golden} == {0, 1}


def test_the_report_is_beside_the_verdict_and_in_the_registry(line: Line) -> None:
    line.train("run-1")
    line.evaluate("run-1")
    assert "<html" in (line.folder / "run-1/evaluation/report.html").read_text()
    run_id = line.registry.run(line.workload.name, "run-1")
    url = f"{line.registry.uri}/api/2.0/mlflow/artifacts/list"
    listed = line.registry.session.get(url, params={"run_id": run_id}, timeout=10).json()["files"]
    assert {file["path"] for file in listed} == {"report.html", "card.md", "evaluation.json", "dataset.json"}


def test_pipeline_run_and_mlflow_run_name_each_other_and_the_rows(line: Line) -> None:
    line.train("run-1", fence="70")
    said = line.evaluate("run-1").description
    run = run_of(line, "run-1")
    assert run["info"]["run_id"] == said["registry"]["run"]
    assert tags_of(run)["pipeline_run"] == "run-1"
    assert said["registry"]["run"] in (line.folder / "run-1/evaluation/report.html").read_text()
    (given,) = run["inputs"]["dataset_inputs"]
    assert given["dataset"]["digest"] == said["data"]["fingerprint"][:36]
    assert json.loads(given["dataset"]["source"]) == {"uri": "made:1000"}
    assert json.loads(given["dataset"]["profile"])["holdout"]["rows"] == said["rows"]
    line.workload = type("Picky", (type(line.workload),), {"rule": replace(line.workload.rule, floor=1)})()
    line.train("run-3", fence="20")
    assert not line.evaluate("run-3").promoted
    record = RunHistory(line.store, line.workload.name).run("run-3")
    assert record is not None
    assert record["registry"]["run"] == line.registry.run(line.workload.name, "run-3")


def test_a_better_challenger_is_promoted_with_the_difference_and_its_interval(line: Line) -> None:
    champion = line.promote("run-1", fence="70")
    line.train("run-2")
    said = line.evaluate("run-2").description
    assert said["verdict"] == "promoted"
    assert (said["champion"]["version"], said["champion"]["digest"]) == (champion.version, champion.digest)
    difference = said["difference"]
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    theirs = said["champion"]["metrics"]["accuracy"]["value"]
    assert difference["value"] == pytest.approx(said["metrics"]["accuracy"]["value"] - theirs)
    assert said["mcnemar_p"] < 0.001
    assert "against champion 1 on the same rows" in said["reasons"][-1]


def test_a_worse_challenger_is_rejected_recorded_and_settled(line: Line) -> None:
    champion = line.promote("run-1")
    line.train("run-2", fence="70")
    said = line.evaluate("run-2").description
    assert said["verdict"] == "rejected"
    assert "an improvement that the interval tells from zero is asked for" in said["reasons"][0]
    records = RunHistory(line.store, line.workload.name)
    settled, told = records.judged(said["recipe"]), records.run("run-2")
    assert settled is not None
    assert told is not None
    assert (settled["run"], settled["verdict"], settled["reasons"]) == ("run-2", "rejected", said["reasons"])
    assert (told["verdict"], told["champion"]["version"]) == ("rejected", champion.version)
    run = run_of(line, "run-2")
    assert run["info"]["status"] == "FINISHED"
    tags = tags_of(run)
    assert (tags["verdict"], tags["reasons"]) == ("rejected", "; ".join(said["reasons"]))
    assert (tags["recipe"], tags["data_fingerprint"]) == (said["recipe"], said["data"]["fingerprint"])
    assert {p["key"]: p["value"] for p in run["data"]["params"]}["fence"] == "70.0"
    serving = line.registry.champion(line.workload.name)
    assert serving is not None
    assert serving.version == champion.version


def test_a_lost_registry_promotes_nothing(line: Line) -> None:
    RunHistory(line.store, line.workload.name).write_run(
        "run-0", {"verdict": "promoted", "version": "3", "digest": "ab" * 32}
    )
    line.train("run-1")
    with pytest.raises(UserError, match=r"version 3 \(abababababab\) was promoted by run run-0.*begin anew"):
        line.evaluate("run-1")


def test_an_alias_that_was_taken_away_leaves_the_floors(line: Line) -> None:
    line.promote("run-1")
    line.registry.remove_alias(line.workload.name, CHAMPION)
    line.train("run-2", fence="60")
    assert "there is no champion yet" in line.evaluate("run-2").description["reasons"][-1]


def test_the_champion_itself_made_again_is_carried_on(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2")
    evaluation = line.evaluate("run-2")
    assert evaluation.promoted
    assert evaluation.description["reasons"] == ["this is champion 1 itself, made again to the byte"]
    assert line.archive("run-2").version == "1"


def test_a_tie_with_another_model_is_no_improvement(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2", fence="49.99")
    said = line.evaluate("run-2").description
    assert said["verdict"] == "rejected"
    assert "the very same as champion 1's, row by row" in said["reasons"][0]
    assert said["mcnemar_p"] == 1.0


def test_judging_again_says_the_same(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2", fence="70")
    first, again = (line.evaluate("run-2").description for _ in range(2))
    assert first == again


@pytest.mark.parametrize("rule", [{"floor": 0.9}, {"minimum_rows": 10_000}])
def test_a_floor_that_is_not_reached_rejects_a_first_model(
    line: Line, make: Make, rule: dict[str, Any]
) -> None:
    line.workload = make(rule=replace(line.workload.rule, **rule))
    line.train("run-1", fence="70")
    assert not line.evaluate("run-1").promoted


@pytest.mark.parametrize(
    ("slope", "verdict", "reason"),
    [
        ("2.2", "promoted", "the whole interval lies above minus the margin of 0.5"),
        ("-1", "rejected", "it may be worse by more than the margin of 0.5"),
        ("nan", "rejected", "not a number: mse, r2, mae, left, the comparison with the champion"),
    ],
)
def test_an_error_is_judged_the_other_way_round_and_nan_is_rejected(
    line: Line, make: Make, slope: str, verdict: str, reason: str
) -> None:
    line.workload = make("line")
    line.promote("run-1")
    line.train("run-2", slope=slope)
    said = line.evaluate("run-2").description
    assert said["verdict"] == verdict
    assert reason in said["reasons"][-1]
    assert next(iter(said["metrics"])) == "mse"
    assert set(said["slices"]) == {"left", "one row"}
    assert said["mcnemar_p"] is None
    if slope == "nan":
        assert said["metrics"]["mse"] == {"value": None, "low": None, "high": None}
        golden = json.loads((line.folder / "run-2/evaluation/golden.json").read_text())
        assert golden[0]["answer"] == {"y": [None]}


def rule_with(line: Line, **changes: Any) -> None:
    """Give the workload another rule; its parameters follow."""
    line.workload = type("Ruled", (type(line.workload),), {"rule": replace(line.workload.rule, **changes)})()


def test_a_run_may_override_the_rule_and_the_verdict_says_which_one_decided(line: Line) -> None:
    line.promote("run-1")
    tie = {"fence": "49.99"}
    line.train("run-2", **tie)
    assert not line.evaluate("run-2").promoted
    given = {"gate_superiority": "false", "gate_margin": "0.05", "gate_confidence": "0.9"}
    line.train("run-3", **tie, **given)
    said = line.evaluate("run-3").description
    assert said["verdict"] == "promoted"
    rule = {"superiority": False, "margin": 0.05, "confidence": 0.9, "floor": 0.6, "metric": "accuracy"}
    assert {key: said["rule"][key] for key in rule} == rule
    assert said["bootstrap"] == {"confidence": 0.9, "resamples": 2000, "seed": 0}
    logged = {p["key"]: p["value"] for p in run_of(line, "run-3")["data"]["params"]}
    assert (logged["gate_margin"], logged["gate_superiority"], logged["fence"]) == ("0.05", "False", "49.99")
    assert not any(name.startswith("gate_") for name in said["parameters"])
    line.train("run-4", **tie, gate_superiority="false", gate_margin="0.01")
    assert "too few rows bear that out: Tango's test" in line.evaluate("run-4").description["reasons"][0]


def test_a_guard_keeps_a_model_out_that_the_primary_metric_lets_through(line: Line, make: Make) -> None:
    line.workload = make("line", rule=replace(make("line").rule, guards={"mae": 0.001}))
    line.promote("run-1", slope="2.2")
    line.train("run-2", slope="1.6")
    said = line.evaluate("run-2").description
    assert said["verdict"] == "rejected"
    assert "mae against champion 1 on the same rows" in said["reasons"][0]
    assert "as a guard it may not be worse by more than 0.001" in said["reasons"][0]
    assert set(said["guards"]) == {"mae"}
    line.train("run-3", slope="1.6", gate_guards="")
    assert line.evaluate("run-3").promoted


def test_latency_is_measured_only_where_a_budget_asks_for_it(line: Line) -> None:
    line.promote("run-1", fence="70")
    line.train("run-2")
    said = line.evaluate("run-2").description
    assert (said["cost"]["latency_ms"], said["champion_cost"]["latency_ms"]) == (None, None)
    assert said["cost"]["size_mb"] == pytest.approx(said["champion_cost"]["size_mb"], rel=0.01)
    generous = {"gate_latency_ms": "1000", "gate_latency_ratio": "100", "gate_size_mb": "1"}
    line.train("run-3", **generous)
    said = line.evaluate("run-3").description
    assert said["verdict"] == "promoted"
    assert 0 < said["cost"]["latency_ms"] < 1000
    line.train("run-4", gate_latency_ms="1e-9", gate_size_mb="1e-9", gate_size_ratio="0.5")
    reasons = line.evaluate("run-4").description["reasons"]
    assert [reason.partition(" take")[0] for reason in reasons] == ["a request", "its files", "its files"]


def test_held_out_rows_that_changed_are_told_and_both_models_are_scored_on_todays(line: Line) -> None:
    line.promote("run-1", fence="70")
    line.train("run-2", source="made:1500")
    said = line.evaluate("run-2").description
    assert said["verdict"] == "promoted"
    assert "(214 then, 320 now): both were scored on today's" in said["reasons"][-1]
    assert said["rows"] == 320


def test_another_split_is_told(line: Line) -> None:
    line.promote("run-1", fence="70")
    line.train("run-2", test_size="0.5")
    assert "trained under another split" in line.evaluate("run-2").description["reasons"][-1]


def test_a_slice_of_few_rows_without_a_value_decides_nothing(line: Line, make: Make) -> None:
    line.workload = make("line", rule=replace(make("line").rule, metric="r2", floor=0.5))
    line.train("run-1")
    said = line.evaluate("run-1").description
    assert (said["verdict"], said["slices"]["one row"]["value"]) == ("promoted", None)


def test_a_diverged_learning_curve_is_drawn_all_the_same(line: Line) -> None:
    line.train("run-1")
    path = line.folder / "run-1/model/model.json"
    described = json.loads(path.read_text())
    path.write_text(
        json.dumps(described | {"curve": [{"step": 1, "error": None}, {"step": 2, "error": 0.5}]})
    )
    assert line.evaluate("run-1").promoted


class TestChampionThatCannotBeJudged:
    """Then nothing is promoted, and what is served stays."""

    def judge(self, line: Line) -> str:
        line.train("run-2")
        with pytest.raises(UserError) as refused:
            line.evaluate("run-2")
        assert not (line.folder / "run-2/evaluation").exists()
        assert RunHistory(line.store, line.workload.name).run("run-2") is None
        champion = line.registry.champion(line.workload.name)
        assert champion is not None
        assert champion.version == "1"
        message = str(refused.value)
        assert message.startswith(f"champion version 1 of {line.workload.name} cannot be loaded")
        assert "take the alias champion away to judge by the floors alone" in message
        return message

    def test_its_archive_is_missing(self, line: Line) -> None:
        archived = line.promote("run-1", fence="70")
        (line.store.root / archived.key).unlink()
        assert f"there is no {archived.key}" in self.judge(line)

    @pytest.mark.parametrize("damage", [b"x", b""])
    def test_its_archive_is_tampered_with(self, line: Line, damage: bytes) -> None:
        archived = line.promote("run-1", fence="70")
        path = line.store.root / archived.key
        path.write_bytes(path.read_bytes() + damage if damage else b"")
        assert archived.digest[:12] in self.judge(line)

    def test_it_was_registered_by_hand(self, line: Line) -> None:
        archived = line.promote("run-1", fence="70")
        line.registry._post(
            "model-versions/set-tag",
            {"name": line.workload.name, "version": archived.version, "key": "archive_key", "value": "gone"},
        )
        line.registry._send(
            "DELETE",
            "mlflow/model-versions/delete-tag",
            json={"name": line.workload.name, "version": archived.version, "key": "archive_key"},
        )
        assert "has no tag archive_key" in self.judge(line)


def test_folders_that_do_not_belong_together_are_refused(line: Line, make: Make) -> None:
    line.train("run-1")
    line.train("run-2", fence="60")
    shutil.rmtree(line.folder / "run-1/model")
    shutil.copytree(line.folder / "run-2/model", line.folder / "run-1/model")
    with pytest.raises(UserError, match="was trained on other data than"):
        line.evaluate("run-1")
    line.workload = make(name="other")
    with pytest.raises(UserError, match=r"belongs to the workload model\d+, not to other"):
        line.evaluate("run-2")


def test_a_rule_with_an_unknown_metric_is_told(line: Line, make: Make) -> None:
    line.workload = make(rule=replace(line.workload.rule, metric="f1"))
    line.train("run-1")
    with pytest.raises(UserError, match="its rule's metric 'f1' is none of accuracy"):
        line.evaluate("run-1")


def test_a_handler_that_does_not_answer_a_value_a_row_is_told(line: Line, make: Make) -> None:
    line.workload = make(prediction="side")
    line.train("run-1")
    with pytest.raises(UserError, match=r"with side of shape None, not one value a row"):
        line.evaluate("run-1")


def test_the_confusion_matrix_counts_actual_by_predicted(line: Line) -> None:
    line.train("run-1", fence="70")
    evaluation = line.evaluate("run-1")
    labels, counts = confusion(line.workload, evaluation)
    actual, predicted = evaluation.judgement.actual, evaluation.judgement.predicted
    assert labels == ["0", "1"]
    assert counts[1][0] == int(((actual == 1) & (predicted == 0)).sum()) > 0
    assert counts[0][1] == 0
    assert sum(map(sum, counts)) == len(actual)


def test_the_command_ends_with_0_when_promoted_and_3_when_rejected(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.setenv("CT_STORE", str(tmp_path / "store"))
    data, model, output = (str(tmp_path / part) for part in ("data", "model", "evaluation"))
    arguments = ["--workload", "fence", "--data", data, "--model", model, "--output", output]
    for fence, code, words in (("50", 0, "promoted: accuracy 1"), ("90", REJECTED, "rejected: accuracy 0.5")):
        assert prepare(["--workload", "fence", "--output", data, "--set", f"fence={fence}"]) == 0
        assert train(["--workload", "fence", "--data", data, "--output", model]) == 0
        capsys.readouterr()
        assert main([*arguments, "--run-id", f"run-{fence}"]) == code
        out = capsys.readouterr().out
        assert words in out
        assert out.endswith(f"report: {output}/report.html\n")
    assert RunHistory(FolderStore(tmp_path / "store"), "fence").run("run-90") is not None
    assert registry.aliased("fence", CHAMPION) is None
    assert main([*arguments[:3], str(tmp_path / "nothing"), *arguments[4:]]) == 2
    assert "holds no dataset" in capsys.readouterr().err


def test_the_surest_mistakes_are_shown_where_rows_are_pictures(line: Line, make: Make) -> None:
    def pictures(self: Any, rows: Any) -> np.ndarray:
        return np.repeat(rows["x"].to_numpy().astype(np.uint8), 4).reshape(-1, 2, 2)

    line.train("run-1", fence="45")
    report = line.folder / "run-1/evaluation/report.html"
    line.evaluate("run-1")
    assert "Worst mistakes" not in report.read_text(), "numbers are no pictures"
    line.workload = make(pictures=pictures)
    line.evaluate("run-1")
    text = report.read_text()
    wrong = text.count("<b>0 taken for 1</b>")
    assert wrong == text.count("data:image/png;base64,") > 3
    assert f"{wrong} of the" in text or f"All {wrong} rows" in text


def test_each_slice_has_the_interval_of_its_own_rows(line: Line, make: Make) -> None:
    line.workload = make("line", rule=replace(make("line").rule, metric="mse", floor=100.0))
    line.train("run-1")
    said = line.evaluate("run-1").description["slices"]["left"]
    assert said["low"] <= said["value"] <= said["high"]
    assert "| left |" in (line.folder / "run-1/evaluation/card.md").read_text()
