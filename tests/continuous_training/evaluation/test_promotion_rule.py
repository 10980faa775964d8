"""The promotion rule as run parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from continuous_training.core.errors import UserError
from continuous_training.evaluation.metrics import METRICS
from continuous_training.evaluation.promotion_rule import METRIC_NAMES, PromotionRule, is_gate_parameter
from workloads import discovery
from workloads.contract import Workload
from workloads.validation import check_workload

FULL = PromotionRule(
    metric="r2", floor=0.2, margin=0.01, superiority=False, minimum_rows=20, slice_floor=-1.0, slice_rows=30,
    confidence=0.9, guards={"mae": 2.5, "mse": 100.0}, latency_ms=5.0, latency_ratio=1.5, size_mb=10.0,
    size_ratio=2.0,
)  # fmt: skip


def workload_with(rule: PromotionRule) -> Workload:
    workload: Workload = type("RuleVariant", (type(discovery.get("diabetes")),), {"rule": rule})()
    return workload


@pytest.mark.parametrize(
    "rule", [FULL, PromotionRule("r2", 0.2), replace(FULL, slice_floor=None, slice_rows=20)]
)
def test_without_parameters_a_run_has_the_rule_of_the_workload(rule: PromotionRule) -> None:
    workload = workload_with(rule)
    assert workload.rule_of(workload.parse({})) == rule


@pytest.mark.parametrize("name", discovery.names())
def test_every_workload_has_its_own_rule_by_default(name: str) -> None:
    workload = discovery.get(name)
    assert workload.rule_of(workload.parse({})) == workload.rule


@pytest.mark.parametrize(
    ("parameters", "changes"),
    [
        ({"gate_floor": "0.5"}, {"floor": 0.5}),
        ({"gate_floor": "-3"}, {"floor": -3.0}),
        ({"gate_superiority": "true"}, {"superiority": True}),
        ({"gate_margin": 0.1, "gate_confidence": "0.99"}, {"margin": 0.1, "confidence": 0.99}),
        ({"gate_rows": "5.0"}, {"minimum_rows": 5}),
        ({"gate_slice_rows": "0"}, {"slice_floor": None, "slice_rows": 30}),
        ({"gate_slice_floor": "0"}, {"slice_floor": 0.0}),
        ({"gate_guards": ""}, {"guards": {}}),
        ({"gate_guards": "mse:1e2,mae:.5"}, {"guards": {"mse": 100.0, "mae": 0.5}}),
        ({"gate_latency_ms": "0", "gate_size_ratio": "0"}, {"latency_ms": None, "size_ratio": None}),
        ({"gate_latency_ratio": "3", "gate_size_mb": "1"}, {"latency_ratio": 3.0, "size_mb": 1.0}),
    ],
)
def test_a_parameter_changes_its_part_of_the_rule(
    parameters: dict[str, str], changes: dict[str, object]
) -> None:
    workload = workload_with(replace(FULL, slice_rows=30))
    assert workload.rule_of(workload.parse(parameters)) == replace(FULL, **changes)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gate_floor": "high"}, "parameter gate_floor: 'high' is not a number"),
        ({"gate_margin": "-1"}, "-1 is less than 0. Pass a number of at least 0"),
        ({"gate_confidence": "95"}, r"a number from 0\.5 to 0\.99"),
        ({"gate_rows": "1"}, "1 is less than 2. Pass a whole number of at least 2"),
        ({"gate_guards": "mae"}, "gate_guards: 'mae' is not text of the form"),
        ({"gate_guards": "mae:-1"}, "gate_guards"),
        ({"gate_guards": "mae:1,f1:2"}, "regression has no metric f1; use r2, mse, mae"),
        ({"gate_flor": "1"}, "did you mean gate_floor"),
    ],
)
def test_an_invalid_parameter_is_an_error(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        workload_with(FULL).parse(parameters)


@pytest.mark.parametrize(
    ("changes", "parameters", "reason"),
    [
        (
            {"superiority": True},
            {"gate_margin": "0.02"},
            "gate_margin: 0.02 has no effect, because the rule req",
        ),
        ({}, {"gate_margin": "0.02", "gate_superiority": "true"}, "gate_margin: 0.02 has no effect"),
        (
            {"slice_floor": None},
            {"gate_slice_floor": "0.1"},
            "gate_slice_floor: 0.1 has no effect, because the sl",
        ),
        ({}, {"gate_slice_floor": "0.1", "gate_slice_rows": "0"}, "gate_slice_floor: 0.1 has no effect"),
        ({}, {"gate_guards": "mae:1,mse:2,mae:3"}, "parameter gate_guards names mae twice"),
        ({}, {"gate_guards": "r2:0.05"}, "r2 is the primary metric"),
    ],
)
def test_a_parameter_without_effect_is_an_error(
    changes: dict[str, Any], parameters: dict[str, str], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        workload_with(replace(FULL, **changes)).parse(parameters)


def test_a_slice_parameter_without_slices_is_an_error() -> None:
    digits = discovery.get("digits")
    without_slices: Workload = type("Variant", (type(digits),), {"slices": Workload.slices})()
    for parameters in ({"gate_slice_floor": "0.5"}, {"gate_slice_rows": "5"}):
        with pytest.raises(UserError, match="has no effect, because the workload defines no slices"):
            without_slices.parse(parameters)
    rule = replace(digits.rule, slice_floor=None)
    no_floor: Workload = type("Variant", (type(digits),), {"rule": rule})()
    with pytest.raises(UserError, match="each slice reaches the floor of 0"):
        no_floor.parse({"gate_slice_rows": "5"})
    assert no_floor.rule_of(no_floor.parse({"gate_slice_rows": "5", "gate_slice_floor": "0.5"})).slice_floor


@pytest.mark.parametrize("changes", [{}, {"superiority": True}, {"slice_floor": None}, {"guards": {}}])
def test_all_defaults_together_are_allowed(changes: dict[str, Any]) -> None:
    """A compiled pipeline passes every parameter."""
    workload = workload_with(replace(FULL, **changes))
    defaults = {parameter.name: str(parameter.default) for parameter in workload.parameters()}
    assert workload.parse(defaults) == workload.parse({})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"gate_superiority": "false", "gate_margin": "0.01"},
            "margin of 0.01 needs at least 381 holdout rows",
        ),
        ({"gate_superiority": "false"}, "the margin is 0, which not even an identical model passes"),
        ({"gate_guards": "balanced_accuracy:0.01"}, "the guard balanced_accuracy of 0.01 needs at least 5"),
        ({"gate_guards": "macro_f1:0"}, "the guard macro_f1 is 0"),
    ],
)
def test_a_rule_that_no_model_can_fulfil_is_an_error(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        discovery.get("digits").parse(parameters)


def test_a_workload_whose_rule_no_model_can_fulfil_is_an_error() -> None:
    digits = type(discovery.get("digits"))
    rule = replace(digits.rule, guards={"balanced_accuracy": 0.01})
    variant = type("Variant", (digits,), {"rule": rule})
    with pytest.raises(UserError, match="minimum_rows is 200: with fewer rows not even an identical model"):
        check_workload(variant, "workload.py", "digits")
    check_workload(type("Variant", (digits,), {"rule": replace(rule, minimum_rows=600)}), "file", "digits")


def test_gate_parameters_are_known_by_their_names() -> None:
    overrides = [p.name for p in discovery.get("digits").parameters() if is_gate_parameter(p.name)]
    assert (overrides[0], len(overrides)) == ("gate_floor", 19)
    assert not any(is_gate_parameter(p.name) for p in discovery.get("digits").own_parameters)


def test_every_metric_of_a_rule_is_computed() -> None:
    names = {task: tuple(metric.name for metric in metrics) for task, metrics in METRICS.items()}
    assert names == METRIC_NAMES


@pytest.mark.parametrize(
    ("budget", "expected"),
    [({}, False), ({"latency_ms": 5}, True), ({"latency_ratio": 2}, True), ({"size_mb": 1}, False)],
)
def test_only_a_latency_budget_requires_a_measurement(budget: dict[str, float], expected: bool) -> None:
    rule = PromotionRule(metric="accuracy", floor=0.9, margin=0.02, minimum_rows=100, **budget)
    assert rule.measures_latency is expected
