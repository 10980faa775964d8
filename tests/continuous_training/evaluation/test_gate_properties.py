"""Properties of the gate for any pair of models: ties, clear winners, and noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from benchmarks import groups, populations, seasons
from benchmarks.simulated import CASES, Case, labels, numbers, promoted, share_promoted
from continuous_training.evaluation.promotion_rule import PromotionRule

ACCURACY = PromotionRule("accuracy", floor=0, minimum_rows=2)
MSE = PromotionRule("mse", floor=math.inf, minimum_rows=2)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: on a busy machine, thousands of small products wait for each other's threads."""
    with threadpool_limits(1):
        yield


@settings(deadline=None)
@given(seeds, st.integers(2, 500), st.floats(0.5, 1))
def test_identical_models_keep_the_champion(seed: int, rows: int, right: float) -> None:
    actual, predicted, _ = labels(np.random.default_rng(seed), rows, right, 0, 0)
    assert not promoted(ACCURACY, "classification", (actual, predicted, predicted))
    actual, predicted, _ = numbers(np.random.default_rng(seed), rows, 3, 0.5, 0)
    assert not promoted(MSE, "regression", (actual, predicted, predicted))


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(2, 2000))
def test_identical_models_pass_without_superiority_if_their_errors_are_small_for_the_rows(
    seed: int, rows: int
) -> None:
    actual, predicted, _ = numbers(np.random.default_rng(seed), rows, math.inf, 0.5, 0)
    largest = float(((predicted - actual) ** 2).max())
    for margin, expected in ((4.2 * largest / rows, True), (3.2 * largest / rows, False)):
        rule = replace(MSE, superiority=False, margin=margin)
        if rows >= 200:
            assert promoted(rule, "regression", (actual, predicted, predicted)) is expected
    assert not promoted(replace(MSE, superiority=False), "regression", (actual, predicted, predicted))


@settings(deadline=None)
@given(seeds, st.integers(6, 400), st.integers(400, 800))
def test_a_model_that_corrects_errors_of_the_champion_is_promoted(
    seed: int, corrected: int, rest: int
) -> None:
    """McNemar's exact test needs at least six rows for a difference at 95 %."""
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, 3, corrected + rest)
    champion = np.where(np.arange(corrected + rest) < corrected, actual + 1, actual)
    assert promoted(ACCURACY, "classification", (actual, actual, champion))
    few = np.where(np.arange(corrected + rest) < 5, actual + 1, actual)
    assert not promoted(ACCURACY, "classification", (actual, actual, few))


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(200, 600))
def test_a_model_with_half_the_error_is_promoted(seed: int, rows: int) -> None:
    predictions = numbers(np.random.default_rng(seed), rows, math.inf, 0, 0.5)
    assert promoted(MSE, "regression", predictions)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(20, 300), st.floats(0, 0.3))
def test_two_models_cannot_both_be_better(seed: int, rows: int, differ: float) -> None:
    actual, first, second = labels(np.random.default_rng(seed), rows, 0.8, differ, 0)
    both = [
        promoted(ACCURACY, "classification", (actual, *pair)) for pair in ((first, second), (second, first))
    ]
    assert sum(both) <= 1


@pytest.mark.parametrize("guard", [False, True], ids=["margin", "guard"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_model_that_is_worse_by_the_limit_passes_in_at_most_the_documented_share(
    case: Case, guard: bool
) -> None:
    rate = share_promoted(case, case.rows[1], case.worse, 1000, seed=0, margin=case.margin, guard=guard)
    assert rate <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)


@pytest.mark.parametrize("case", [case for case in CASES if case.enough], ids=lambda case: case.name)
def test_an_identical_model_is_not_inferior_on_enough_rows(case: Case) -> None:
    for guard in (False, True):
        assert share_promoted(case, case.enough, None, 200, seed=0, margin=case.margin, guard=guard) > 0.9


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_noise_is_promoted_in_at_most_the_documented_share(case: Case) -> None:
    """1,000 models without an improvement: docs/gate.md states a rate of 2.5 %."""
    rate = share_promoted(case, rows=40, gain=0.0, comparisons=1000, seed=0)
    assert rate <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)


def test_heavier_tails_on_thirty_rows_are_promoted_in_at_most_the_promised_share() -> None:
    (case,) = (case for case in CASES if case.name == "MSE, challenger with heavier tails")
    rates = [share_promoted(case, 30, 0.0, comparisons=4000, seed=seed) for seed in (100, 101)]
    rates += [
        share_promoted(case, 30, case.worse, 4000, seed=100, margin=case.margin, guard=guard)
        for guard in (False, True)
    ]
    assert max(rates) < 0.025


def test_fifty_rows_without_a_difference_do_not_pass_a_guard_of_one_percent() -> None:
    for name in ("accuracy 0.90", "balanced accuracy, two", "macro F1"):
        case = next(case for case in CASES if case.name.startswith(name))
        assert share_promoted(case, 50, None, 20, seed=0, margin=0.01, guard=True) == 0


@pytest.mark.parametrize("limit", [False, True], ids=["superiority", "margin"])
@pytest.mark.parametrize("case", groups.CASES, ids=lambda case: case.name)
def test_dependent_rows_are_promoted_in_at_most_the_documented_share(
    case: groups.GroupCase, limit: bool
) -> None:
    rate = groups.simulate(case.name, 50, 300, seed=9, limit=limit)
    assert rate <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 300)


def test_dependent_rows_that_are_treated_as_independent_are_promoted_too_often() -> None:
    assert groups.simulate(groups.CASES[0].name, 50, 300, seed=9, by_group=False) > 0.06


def test_a_clear_improvement_in_many_groups_is_promoted() -> None:
    assert groups.simulate(groups.CASES[0].name, 200, 20, seed=9, gain=0.1) > 0.9


@pytest.mark.parametrize("situation", populations.SITUATIONS, ids=lambda situation: situation.name)
def test_data_of_another_population_promote_nothing(situation: populations.Situation) -> None:
    assert populations.simulate(situation.name, rows=500, nights=20, seed=7) == (0, 20)


@pytest.mark.parametrize("kind", seasons.SEASONS, ids=lambda kind: kind.name)
def test_a_season_is_not_another_population(kind: seasons.Season) -> None:
    rejected, promoted = seasons.simulate(kind.name, rows=250, step=7, nights=52, seed=8)
    assert rejected <= 1
    assert (promoted > 5) is kind.moves_label
