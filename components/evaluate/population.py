"""Collect the data of the population check: what the champion was promoted on, and today's dataset."""

from __future__ import annotations

from components.run_context import RunContext
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.population import PopulationChange
from continuous_training.evaluation.comparison import Comparison
from continuous_training.evaluation.population import ObservedData, population_change
from continuous_training.evaluation.promotion_rule import PromotionRule

from .champion import Champion


def compare_population(
    context: RunContext,
    rule: PromotionRule,
    dataset: Dataset,
    champion: Champion | None,
    comparison: Comparison,
) -> PopulationChange | None:
    """Return the changes of the data since the champion was promoted.

    None without a champion, and for a champion that was trained on a sample: it is a trial, and the real data
    that follow it are another population.
    """
    if champion is None or comparison.champion is None:
        return None
    manifest, trained_on, workload = dataset.manifest, champion.training_data, context.workload
    if trained_on.sample and not dataset.sample:
        return None
    promoted = ObservedData(
        train_rows=trained_on.rows,
        holdout_rows=trained_on.holdout.rows if trained_on.holdout else None,
        gap_rows=trained_on.gap_rows,
        statistics=trained_on.statistics,
        score=_promotion_score(context, rule, champion),
    )
    today = ObservedData(
        train_rows=manifest.train.rows,
        holdout_rows=manifest.holdout.rows,
        gap_rows=manifest.gap_rows,
        statistics=manifest.train.statistics,
        score=comparison.champion.metrics[rule.metric],
    )
    # The column of a split is a group or a time, and both are new in new rows.
    split = {manifest.split.column} if manifest.split else set()
    ignored = frozenset({workload.key, *workload.moving_columns} | split)
    return population_change(rule, champion.version.version, promoted, today, workload.target, ignored)


def _promotion_score(context: RunContext, rule: PromotionRule, champion: Champion) -> Interval | None:
    """Return the champion's primary metric in the evaluation that promoted it; None if it is not recorded."""
    record = context.history.run(champion.version.tags.get("pipeline_run", ""))
    return record.metrics.get(rule.metric) if record else None
