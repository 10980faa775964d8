"""The gate: decides by the workload's written rule whether a challenger may be served."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from continuous_training.evaluation.budgets import Cost
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.report.report_data import Interval


@dataclass(frozen=True)
class Slice:
    """A group of holdout rows and the primary metric on it, the champion's beside."""

    rows: int
    value: float
    champion: float | None = None


@dataclass(frozen=True)
class Against:
    """The comparison with a champion on the same rows: improvements by metric, positive is better.

    `test` is the name and the p-value of the test that must bear out the interval of the primary metric,
    where there is one.
    """

    champion: str
    improvements: Mapping[str, Interval]
    test: tuple[str, float] | None = None
    cost: Cost | None = None


@dataclass(frozen=True)
class Evidence:
    """All that the verdict on a challenger rests on; `against` is None where there is no champion.

    `not_numbers` says, in words, where the challenger answered NaN or infinity.
    """

    rows: int
    metrics: Mapping[str, Interval]
    higher_is_better: bool
    slices: Mapping[str, Slice] = field(default_factory=dict)
    cost: Cost | None = None
    against: Against | None = None
    not_numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """`promoted` or not, and every reason in words; a promotion has its reasons too."""

    promoted: bool
    reasons: list[str]


def judge(rule: PromotionRule, evidence: Evidence) -> Verdict:
    """Return the verdict on a challenger: any NaN refuses, then every reason against it, or those for it."""
    if broken := list(_not_numbers(rule, evidence)):
        return Verdict(False, [f"not a number: {', '.join(broken)}; nothing can be said for this model"])
    against = [*_below_floors(rule, evidence), *_over_budget(rule, evidence)]
    if evidence.against:
        against += [*_not_better(rule, evidence.against), *_broken_guards(rule, evidence.against)]
    if against:
        return Verdict(False, against)
    name, value = rule.metric, evidence.metrics[rule.metric].value
    reasons = [f"{name} {value:.4g} reaches the floor of {rule.floor:g} on {evidence.rows} holdout rows"]
    if evidence.against is None:
        reasons.append("there is no champion yet, so only the floors decided")
    else:
        limit = "zero" if rule.superiority else f"minus the margin of {rule.margin:g}"
        reasons.append(f"{_compared(rule, evidence.against)}; the whole interval lies above {limit}")
    return Verdict(True, reasons)


def _not_numbers(rule: PromotionRule, evidence: Evidence) -> Iterator[str]:
    yield from (name for name, interval in evidence.metrics.items() if not _finite(interval))
    yield from (n for n, part in _large(rule, evidence).items() if not math.isfinite(part.value))
    if against := evidence.against:
        p = against.test[1] if against.test else 0.0
        if not (all(map(_finite, against.improvements.values())) and math.isfinite(p)):
            yield "the comparison with the champion"
    yield from evidence.not_numbers


def _below_floors(rule: PromotionRule, evidence: Evidence) -> Iterator[str]:
    def reaches(value: float, floor: float) -> bool:
        return value >= floor if evidence.higher_is_better else value <= floor

    name, value = rule.metric, evidence.metrics[rule.metric].value
    if evidence.rows < rule.minimum_rows:
        yield f"{evidence.rows} holdout rows are too few to judge by: the rule asks for {rule.minimum_rows}"
    if not reaches(value, rule.floor):
        yield f"{name} {value:.4g} does not reach the floor of {rule.floor:g}"
    if rule.slice_floor is None:
        return
    for slice_name, part in _large(rule, evidence).items():
        if not reaches(part.value, rule.slice_floor):
            yield (
                f"{slice_name}: {name} {part.value:.4g} does not reach the slice floor of "
                f"{rule.slice_floor:g}"
            )


def _over_budget(rule: PromotionRule, evidence: Evidence) -> Iterator[str]:
    if evidence.cost is None:
        return
    ours = evidence.cost
    theirs = evidence.against.cost if evidence.against else None
    took, size = ours.latency_ms, ours.size_mb
    if took is not None and rule.latency_ms is not None and took > rule.latency_ms:
        yield f"a request takes {took:.3g} ms, over the budget of {rule.latency_ms:g} ms"
    if rule.size_mb is not None and size > rule.size_mb:
        yield f"its files take {size:.3g} MB, over the budget of {rule.size_mb:g} MB"
    if theirs is None:
        return
    before = theirs.latency_ms
    limit = None if before is None or rule.latency_ratio is None else rule.latency_ratio * before
    if took is not None and limit is not None and took > limit:
        yield (
            f"a request takes {took:.3g} ms and the champion's {before:.3g}, over the budget of "
            f"{rule.latency_ratio:g} times as long"
        )
    if rule.size_ratio is not None and size > rule.size_ratio * theirs.size_mb:
        yield (
            f"its files take {size:.3g} MB and the champion's {theirs.size_mb:.3g}, over the budget of "
            f"{rule.size_ratio:g} times as much"
        )


def _not_better(rule: PromotionRule, against: Against) -> Iterator[str]:
    found, seen = against.improvements[rule.metric], _compared(rule, against)
    if rule.superiority and found.low <= 0:
        yield f"{seen}; an improvement that the interval tells from zero is asked for"
    elif not rule.superiority and found.low < -rule.margin:
        yield f"{seen}; it may be worse by more than the margin of {rule.margin:g}"
    elif against.test and against.test[1] > 1 - rule.confidence:
        # Where the models differ on a handful of rows, the bootstrap is too sure of itself.
        name, p = against.test
        yield (
            f"{seen}; but too few rows bear that out: {name} has p = {p:.2g}, and "
            f"{1 - rule.confidence:.2g} or less is asked for"
        )


def _broken_guards(rule: PromotionRule, against: Against) -> Iterator[str]:
    for name, most in rule.guards.items():
        if against.improvements[name].low < -most:
            seen = _in_words(name, against.improvements[name], rule, against.champion)
            yield f"{seen}; as a guard it may not be worse by more than {most:g}"


def _compared(rule: PromotionRule, against: Against) -> str:
    return _in_words(rule.metric, against.improvements[rule.metric], rule, against.champion)


def _in_words(metric: str, found: Interval, rule: PromotionRule, champion: str) -> str:
    if found.low == found.high == 0:
        return f"{metric} is the very same as champion {champion}'s, row by row"
    return (
        f"{metric} against champion {champion} on the same rows: {found.value:+.4g} "
        f"({100 * rule.confidence:g} % interval {found.low:+.4g} to {found.high:+.4g})"
    )


def _large(rule: PromotionRule, evidence: Evidence) -> dict[str, Slice]:
    return {name: part for name, part in evidence.slices.items() if part.rows >= rule.slice_rows}


def _finite(interval: Interval) -> bool:
    return all(map(math.isfinite, (interval.value, interval.low, interval.high)))
