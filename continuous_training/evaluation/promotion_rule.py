"""The promotion rule: the conditions for a promotion, and the run parameters that override them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import Parameter, Value, Values

METRIC_NAMES = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1"),
    "regression": ("r2", "mse", "mae"),
}
"""The metrics of each task. Each may be the primary metric or a guard metric of a rule."""

PARAMETER_PREFIX = "gate_"
_NUMBER = r"(\d+(\.\d*)?|\.\d+)(e-?\d+)?"
_GUARDS = rf"[a-z0-9_]+:{_NUMBER}(,[a-z0-9_]+:{_NUMBER})*"


_BUDGETS = {
    "latency_ms": "milliseconds that a request may take",
    "latency_ratio": "limit of the latency, times the champion's",
    "size_mb": "limit of the model's size in megabytes",
    "size_ratio": "limit of the model's size, times the champion's",
}
POPULATION_BOUNDS = {
    "score_fall": "how far the champion's primary metric may fall after its promotion",
    "mean_shift": "how far the mean of a column may move, in standard deviations",
    "spread_ratio": "limit of the ratio of a column's standard deviations then and now",
    "lost_values": "limit of the share of the champion's rows whose value no longer occurs",
    "vocabulary_change": "limit of the change of a text's words; 0.9: hardly any word in common",
    "rows_fall": "minimum number of rows, times the champion's",
    "rows_rise": "maximum number of rows, times the champion's",
}
"""The bounds beyond which today's data are a different population, with their descriptions."""


@dataclass(frozen=True)
class PromotionRule:
    """The conditions that a challenger must fulfil; docs/gate.md explains how they are applied.

    `metric` is the primary metric and must reach `floor`. With a champion, the improvement is computed on the
    same holdout rows, with a two-sided interval of `confidence`. With `superiority`, the whole interval must
    be above zero. Without it, the challenger must not be worse by more than `margin`. A decision needs
    `minimum_rows` holdout rows. `slice_floor` applies to each slice of at least `slice_rows` rows. `guards`
    maps a guard metric to the amount by which it may get worse.
    The budgets limit the latency of a one-row request in milliseconds and the size of the model in megabytes,
    as an absolute limit or as a ratio to the champion.

    The last seven fields are the bounds beyond which today's data are a different population than the data
    that the champion was promoted on (`evaluation.population`): the fall of the champion's primary metric,
    the shift of a column's mean in standard deviations, the ratio of the standard deviations, the share of
    the rows whose value no longer occurs, the change of a text's words (0: none, 1: other words), and the
    number of rows as multiples of the champion's. None: no bound.
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
    score_fall: float | None = 0.05
    mean_shift: float | None = 4.0
    spread_ratio: float | None = 2.0
    lost_values: float | None = 0.3
    vocabulary_change: float | None = 0.9
    rows_fall: float | None = 0.5
    rows_rise: float | None = 10.0

    @property
    def measures_latency(self) -> bool:
        """Whether the rule has a latency budget, so that latency must be measured."""
        return self.latency_ms is not None or self.latency_ratio is not None

    def to_json(self) -> Json:
        """Return the rule as JSON-ready data."""
        return asdict(self)


def gate_parameters(rule: PromotionRule) -> tuple[Parameter, ...]:
    """Return the run parameters that override the rule; the defaults are the values of the rule.

    Kubeflow Pipelines has no optional numbers, so 0 means no limit.
    """
    metric = rule.metric
    return (
        _parameter("floor", float(rule.floor), f"{metric} that a model must reach"),
        _parameter("superiority", rule.superiority, "must be better; false: not worse than the margin"),
        _parameter("margin", float(rule.margin), f"how much worse {metric} may be", minimum=0),
        _parameter(
            "confidence",
            rule.confidence,
            "of the deciding intervals; with 0.95, 2.5 % of the models without an improvement pass",
            minimum=0.5,
            maximum=0.99,
        ),
        _parameter("rows", rule.minimum_rows, "minimum number of holdout rows for a decision", minimum=2),
        _parameter("slice_floor", float(rule.slice_floor or 0), f"{metric} to reach in each slice"),
        _parameter(
            "slice_rows",
            0 if rule.slice_floor is None else rule.slice_rows,
            "minimum number of rows of a slice for its floor to apply; 0: no floor for slices",
            minimum=0,
        ),
        _parameter(
            "guards",
            ",".join(f"{name}:{limit:g}" for name, limit in rule.guards.items()),
            "guard metrics and how much worse each may be, as mse:100,mae:2.5; empty: none",
            pattern=_GUARDS,
        ),
        *(
            _parameter(name, float(getattr(rule, name) or 0), f"{text}; 0: no limit", minimum=0)
            for name, text in (_BUDGETS | POPULATION_BOUNDS).items()
        ),
    )


def _parameter(name: str, default: Value, help_text: str, **limits: Any) -> Parameter:
    return Parameter(PARAMETER_PREFIX + name, default, help_text, **limits)


def is_gate_parameter(name: str) -> bool:
    """Return whether a run parameter overrides the promotion rule and thus does not affect the model."""
    return name.startswith(PARAMETER_PREFIX)


def override_rule(rule: PromotionRule, values: Values, task: str, has_slices: bool = True) -> PromotionRule:
    """Return the rule of a run with these parameters; `has_slices` is whether the workload defines slices.

    Raises UserError for an unknown guard metric, and for a value that differs from the rule but cannot have
    an effect. A compiled pipeline passes every parameter, so the default is always allowed.
    """
    overrides = {
        name.removeprefix(PARAMETER_PREFIX): value
        for name, value in values.items()
        if is_gate_parameter(name)
    }
    if not overrides:
        return rule
    guards = _parse_guards(str(overrides["guards"]))
    if unknown := [name for name in guards if name not in METRIC_NAMES[task]]:
        raise UserError(
            f"parameter {PARAMETER_PREFIX}guards: {task} has no metric {', '.join(unknown)}; use "
            f"{', '.join(METRIC_NAMES[task])}"
        )
    changed = PromotionRule(
        metric=rule.metric,
        floor=float(overrides["floor"]),
        margin=float(overrides["margin"]),
        superiority=bool(overrides["superiority"]),
        minimum_rows=int(overrides["rows"]),
        slice_floor=float(overrides["slice_floor"]) if overrides["slice_rows"] else None,
        slice_rows=int(overrides["slice_rows"]) or rule.slice_rows,
        confidence=float(overrides["confidence"]),
        guards=guards,
        **{name: float(overrides[name]) or None for name in _BUDGETS | POPULATION_BOUNDS},
    )
    defaults = {parameter.name: parameter.default for parameter in gate_parameters(rule)}
    for name, reason in _without_effect(changed, task, has_slices):
        if overrides[name] != defaults[PARAMETER_PREFIX + name]:
            raise UserError(
                f"parameter {PARAMETER_PREFIX}{name}: {overrides[name]} has no effect, because {reason}; "
                "omit the parameter"
            )
    return changed


def _without_effect(rule: PromotionRule, task: str, has_slices: bool) -> Iterator[tuple[str, str]]:
    """Yield the name of each run parameter that has no effect on decisions by this rule, with the reason."""
    if rule.superiority:
        yield "margin", "the rule requires an improvement (gate_superiority=true)"
    if rule.slice_floor is None:
        yield "slice_floor", "the slices are not checked (gate_slice_rows=0)"
    if not has_slices:
        yield from ((name, "the workload defines no slices") for name in ("slice_floor", "slice_rows"))
    if task == "classification" and rule.slice_floor is not None and rule.slice_floor <= 0:
        yield "slice_rows", f"each slice reaches the floor of {rule.slice_floor:g} (gate_slice_floor)"
    if rule.metric in rule.guards:
        yield "guards", f"{rule.metric} is the primary metric, which has its own limit (gate_margin)"


def _parse_guards(text: str) -> dict[str, float]:
    """Return the limits by metric. Raises UserError for a metric that is named twice."""
    guards: dict[str, float] = {}
    for entry in filter(None, text.split(",")):
        name, limit = entry.split(":")
        if name in guards:
            raise UserError(f"parameter {PARAMETER_PREFIX}guards names {name} twice; give one limit for each")
        guards[name] = float(limit)
    return guards


Rule = PromotionRule
"""The deprecated name, for workloads that import it from `workloads.rule`. It works until version 0.4."""
