"""Sections on what was agreed beforehand: the rule of promotion in words, and the parameters."""

from __future__ import annotations

from collections.abc import Iterator

from continuous_training.report.formatting import (
    NOTHING,
    asked,
    change,
    escape,
    finite,
    label,
    measure,
    number,
    pairs,
    show,
    table,
)
from continuous_training.report.report_data import Facts
from continuous_training.report.result_sections import section


def rule(facts: Facts) -> str:
    """Return the promotion rule in words, each line beside what this run measured.

    It repeats no judgement: the verdict is made in one place, and a second opinion here could only differ.
    """
    return section("The rule", table(["to be promoted", "this run"], _lines(facts), (1,)))


def parameters(facts: Facts) -> str:
    """Return the run's parameters, and what training noted down."""
    given = pairs({name: show(value) for name, value in facts.parameters.items()})
    noted = pairs({name: show(value, digits=4) for name, value in facts.notes.items()})
    body = given if facts.parameters else "<p>The run has no parameters.</p>"
    return section("Parameters", body) + (section("Notes of the training", noted, 3) if facts.notes else "")


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    given, metric = facts.rule, facts.primary or str(facts.rule.get("metric") or "")
    name, ours = escape(label(metric)), facts.metrics.get(metric)
    yield f"{name} reaches {asked(metric, given.get('floor'))}", measure(metric, ours and ours.value)
    yield _improves(facts, metric)
    if given.get("slice_floor") is not None:
        rows = given.get("slice_rows") or 0
        big = (one.get("value") for one in facts.slices.values() if (one.get("rows") or 0) >= rows)
        worst = measure(metric, min((value for value in big if finite(value)), default=None))
        floor = asked(metric, given["slice_floor"])
        yield f"{name} reaches {floor} in every slice of {number(rows)} rows or more", f"{worst} in the worst"
    held = ((facts.dataset.get("splits") or {}).get("holdout") or {}).get("rows")
    yield f"{number(given.get('minimum_rows'))} rows or more are held out", number(held)


def _improves(facts: Facts, metric: str) -> tuple[str, str]:
    measured = "no champion" if facts.champion is None else NOTHING
    if facts.difference is not None:
        measured = f"{change(metric, facts.difference.low)} at the least"
    if facts.rule.get("superiority", True):
        return "the improvement over the champion is above zero, with 95 % confidence", measured
    margin = asked(metric, facts.rule.get("margin"))
    return f"it is not worse than the champion by more than {margin}, with 95 % confidence", measured
