"""The rule by which a challenger may be served, and the run parameters that override it for one run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from continuous_training.core.errors import UserError
from continuous_training.core.parameters import Parameter, Value, Values

METRICS = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1"),
    "regression": ("r2", "mse", "mae"),
}
"""What is measured of each task's models; any of them may be the primary metric or a guard."""

PREFIX = "gate_"
_NUMBER = r"(\d+(\.\d*)?|\.\d+)(e-?\d+)?"
_GUARDS = rf"[a-z0-9_]+:{_NUMBER}(,[a-z0-9_]+:{_NUMBER})*"


@dataclass(frozen=True)
class PromotionRule:
    """When a challenger may be served; docs/gate.md tells what decides, in which order.

    `metric` names the primary metric. It must reach `floor`; against a champion, its improvement must be
    above zero with the `confidence` of a two-sided interval (paired, on the same holdout rows), or, where
    `superiority` is False, must not be worse by more than `margin`. Fewer than `minimum_rows` holdout rows
    decide nothing. `slice_floor` is the least that the metric may be in any slice of at least
    `slice_rows` rows. `guards` names further metrics and by how much each may be worse at the most.
    Budgets: the milliseconds that a request of one row takes and the megabytes of the model's files, as a
    bound or as a ratio to the champion's.
    """

    metric: str
    floor: float
    margin: float = 0.0
    superiority: bool = True
    minimum_rows: int = 50
    slice_floor: float | None = None
    slice_rows: int = 20
    confidence: float = 0.95
    guards: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float | None = None
    latency_ratio: float | None = None
    size_mb: float | None = None
    size_ratio: float | None = None

    @property
    def measures_latency(self) -> bool:
        """Whether a latency budget asks for a measurement."""
        return self.latency_ms is not None or self.latency_ratio is not None


def parameters_of(rule: PromotionRule) -> tuple[Parameter, ...]:
    """The run parameters that override the rule; their defaults are the rule itself.

    Kubeflow has no optional numbers: where a bound may be missing, 0 says that there is none.
    """

    def bound(name: str, value: float | None, text: str) -> Parameter:
        return Parameter(PREFIX + name, float(value or 0), f"{text}; 0: no bound", minimum=0)

    slices = rule.slice_floor is not None
    metric = rule.metric
    return (
        Parameter(f"{PREFIX}floor", float(rule.floor), f"{metric} that a model must reach"),
        Parameter(f"{PREFIX}superiority", rule.superiority, "must be better; false: not worse by the margin"),
        Parameter(f"{PREFIX}margin", float(rule.margin), f"how much worse {metric} may be", minimum=0),
        Parameter(
            f"{PREFIX}confidence",
            rule.confidence,
            "of the intervals that decide; 0.95 lets 2.5 % of the models that are no better through",
            minimum=0.5,
            maximum=0.99,
        ),
        Parameter(f"{PREFIX}rows", rule.minimum_rows, "held out rows that it takes to decide", minimum=2),
        Parameter(f"{PREFIX}slice_floor", float(rule.slice_floor or 0), f"{metric} to reach in each slice"),
        Parameter(
            f"{PREFIX}slice_rows",
            rule.slice_rows if slices else 0,
            "rows from which on a slice decides; 0: none does",
            minimum=0,
        ),
        Parameter(
            f"{PREFIX}guards",
            ",".join(f"{name}:{value:g}" for name, value in rule.guards.items()),
            "further metrics and how much worse each may be, as mse:100,mae:2.5; empty: none",
            pattern=_GUARDS,
        ),
        bound("latency_ms", rule.latency_ms, "milliseconds that a request may take"),
        bound("latency_ratio", rule.latency_ratio, "times the champion's latency that a request may take"),
        bound("size_mb", rule.size_mb, "megabytes that the model's files may take"),
        bound("size_ratio", rule.size_ratio, "times the champion's size that the model's files may take"),
    )


def is_override(name: str) -> bool:
    """Tell whether a run parameter is the gate's alone: it decides nothing about the model."""
    return name.startswith(PREFIX)


def overridden(rule: PromotionRule, values: Values, task: str) -> PromotionRule:
    """Return the rule of a run with these parameters; UserError for a guard on an unknown metric."""
    given = {name.removeprefix(PREFIX): value for name, value in values.items() if is_override(name)}
    if not given:
        return rule
    guards = _guards(str(given["guards"]))
    if unknown := [name for name in guards if name not in METRICS[task]]:
        known = ", ".join(METRICS[task])
        raise UserError(
            f"parameter {PREFIX}guards: {', '.join(unknown)} is none of {known}, which {task} has"
        )
    return PromotionRule(
        metric=rule.metric,
        floor=float(given["floor"]),
        margin=float(given["margin"]),
        superiority=bool(given["superiority"]),
        minimum_rows=int(given["rows"]),
        slice_floor=float(given["slice_floor"]) if given["slice_rows"] else None,
        slice_rows=int(given["slice_rows"]) or rule.slice_rows,
        confidence=float(given["confidence"]),
        guards=guards,
        latency_ms=_bound(given["latency_ms"]),
        latency_ratio=_bound(given["latency_ratio"]),
        size_mb=_bound(given["size_mb"]),
        size_ratio=_bound(given["size_ratio"]),
    )


def _guards(text: str) -> dict[str, float]:
    parts = (re.split(":", part) for part in text.split(",") if part)
    return {name: float(value) for name, value in parts}


def _bound(value: Value) -> float | None:
    return float(value) or None


Rule = PromotionRule
"""The former name, for workloads that import it from `workloads.rule`. It works until version 0.4."""
