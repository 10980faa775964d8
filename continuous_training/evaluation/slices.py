"""How sure the metric of a group of rows is: few rows make wide intervals."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from continuous_training.evaluation.comparison import SEED, Judgement
from continuous_training.evaluation.metrics import METRICS, measure
from continuous_training.evaluation.promotion_rule import PromotionRule
from workloads.contract import Workload


def slice_ends(
    workload: Workload, rule: PromotionRule, holdout: pa.Table, judgement: Judgement
) -> dict[str, dict[str, Any]]:
    """Return the ends of the primary metric's 95 % interval in each slice that the judgement has."""
    metric = next(one for one in METRICS[workload.task] if one.name == rule.metric)
    found = {}
    for name, mask in workload.slices(holdout).items():
        if name in judgement.slices:
            interval = measure(metric, judgement.actual[mask], judgement.predicted[mask], SEED)
            found[name] = {"low": interval.low, "high": interval.high}
    return found
