"""The gate's check that today's data are the population that the champion was promoted on."""

from __future__ import annotations

from collections.abc import Iterator

from continuous_training.artifacts.population import PopulationChange
from continuous_training.evaluation.check import Check, note
from continuous_training.evaluation.comparison import Comparison

DIFFERENT = "the data differ from the data that the champion was promoted on"


def population_checks(comparison: Comparison) -> Iterator[Check]:
    """Yield the check of the population, and notes on data that a person accepted or that is not known."""
    change, accepted = comparison.population, comparison.accepted
    exceeded = "; ".join(change.exceeded) if change else ""
    if accepted and (exceeded or not comparison.accepts_comparison):
        yield note("accepted data", f"{accepted} ({exceeded or 'the data are within the bounds'})")
    elif exceeded:
        yield Check(
            DIFFERENT,
            exceeded,
            "data within the bounds of the rule. Fix the data at the source, or run once with the run "
            'parameter accept="reason"',
            False,
        )
    elif change:
        yield Check(f"data against champion {change.champion}", _summary(change), "the same population", True)
    if change and change.not_compared:
        yield note("not compared with the champion's data", "; ".join(change.not_compared))


def _summary(change: PopulationChange) -> str:
    texts = [f"{change.rows} rows"]
    if change.champion_rows is not None:
        texts[0] += f", {change.champion_rows} when it was promoted"
    if score := change.score:
        texts.append(
            f"its {score.metric} was {score.promoted.value:.4g} when it was promoted and is "
            f"{score.today.value:.4g}"
        )
    if change.columns:
        texts.append(f"within the bounds: {', '.join(move.column for move in change.columns)} moved")
    return "; ".join(texts)
