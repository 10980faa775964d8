"""Whether the run parameter `accept` also applies to the comparison with the champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from components.run_context import RunContext
from continuous_training.evaluation.check import Check, note
from continuous_training.evaluation.comparison import Comparison
from continuous_training.evaluation.gate import decide
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.serving.models.model import Model


def accepts_comparison(context: RunContext, comparison: Comparison, challenger: Model) -> bool:
    """Return whether a person accepts a challenger that fails checks against the champion.

    A person can accept only a reported rejection: the last run on the same inputs was rejected, with the same
    champion. If it was rejected because its data differ, the person accepts the data first. The next run then
    reports the comparison on these data.
    """
    if not comparison.accepted or comparison.champion is None:
        return False
    training = challenger.metadata.require_training(challenger.folder)
    processed = context.history.find_processed(training.input_digest)
    earlier = processed.record if processed else None
    if earlier is None or earlier.run == context.run_id or earlier.verdict != "rejected":
        return False
    if earlier.champion is None or earlier.champion.version != comparison.champion.version:
        return False
    return bool(earlier.accepted or not (comparison.population and comparison.population.exceeded))


def acceptance_notes(rule: PromotionRule, comparison: Comparison) -> Iterator[Check]:
    """Yield a note if a person gave a reason, and the gate would promote the challenger in a further run."""
    if not comparison.accepted or comparison.accepts_comparison or decide(rule, comparison).promoted:
        return
    if decide(rule, replace(comparison, accepts_comparison=True)).promoted:
        text = "no earlier run reported this comparison; a further run with accept promotes the model"
        yield note("accept", text)
