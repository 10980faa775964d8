"""A simulated year of nights: the served model against the one that an oracle serves."""

from __future__ import annotations

from benchmarks.year import DAYS, EVENTS, MARGIN, simulate

WRONG_NIGHTS = sum(len(days) for days, _ in EVENTS.values())


def test_the_served_model_follows_the_oracle_through_a_year() -> None:
    year = simulate(seed=1000)
    assert len(year.losses) == DAYS - 1
    assert year.stopped == WRONG_NIGHTS, "a model was promoted on a night with a wrong export"
    assert year.usual_stopped < 0.02 * DAYS
    assert year.losses.max() < MARGIN
    assert year.delays.max() <= 3


def test_without_the_data_checks_wrong_models_are_served() -> None:
    year = simulate(seed=1000, checked=False)
    assert year.stopped < WRONG_NIGHTS
    assert year.losses.max() > MARGIN
