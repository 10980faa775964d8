"""The gate: decides by the workload's written rule whether a challenger may be served."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from components.report.facts import Interval
from workloads.contract import Rule


@dataclass(frozen=True)
class Slice:
    """A group of holdout rows and the primary metric on it, the champion's beside."""

    rows: int
    value: float
    champion: float | None = None


@dataclass(frozen=True)
class Verdict:
    """`promoted` or not, and every reason in words; a promotion has its reasons too."""

    promoted: bool
    reasons: list[str]


def judge(
    rule: Rule,
    rows: int,
    metrics: Mapping[str, Interval],
    higher_is_better: bool,
    difference: Interval | None,
    slices: Mapping[str, Slice],
    champion: str = "",
) -> Verdict:
    """Return the verdict on a challenger.

    `metrics` are the challenger's on the holdout, `difference` its improvement over the champion on the
    same rows (positive is better), or None when there is no champion: then only the floors decide.
    """
    name, value = rule.metric, metrics[rule.metric].value
    broken = [key for key, interval in metrics.items() if not _finite(interval)]
    large = {key: part for key, part in slices.items() if part.rows >= rule.slice_rows}
    broken += [key for key, part in large.items() if not math.isfinite(part.value)]
    if difference is not None and not _finite(difference):
        broken.append("the comparison with the champion")
    if broken:
        return Verdict(False, [f"not a number: {', '.join(broken)}; nothing can be said for this model"])
    against: list[str] = []
    if rows < rule.minimum_rows:
        against.append(f"{rows} holdout rows are too few to judge by: the rule asks for {rule.minimum_rows}")
    if not _reaches(value, rule.floor, higher_is_better):
        against.append(f"{name} {value:.4g} does not reach the floor of {rule.floor:g}")
    against += _slices_below(rule, large, higher_is_better)
    if difference is not None:
        against += _against_champion(rule, difference, champion)
    if against:
        return Verdict(False, against)
    reasons = [f"{name} {value:.4g} reaches the floor of {rule.floor:g} on {rows} holdout rows"]
    if difference is None:
        reasons.append("there is no champion yet, so only the floors decided")
    else:
        reasons.append(_won(rule, difference, champion))
    return Verdict(True, reasons)


def _against_champion(rule: Rule, difference: Interval, champion: str) -> list[str]:
    seen = _in_words(rule, difference, champion)
    if rule.superiority and difference.low <= 0:
        return [f"{seen}; an improvement that the interval tells from zero is asked for"]
    if not rule.superiority and difference.low < -rule.margin:
        return [f"{seen}; it may be worse by more than the margin of {rule.margin:g}"]
    return []


def _won(rule: Rule, difference: Interval, champion: str) -> str:
    limit = "zero" if rule.superiority else f"minus the margin of {rule.margin:g}"
    return f"{_in_words(rule, difference, champion)}; the whole interval lies above {limit}"


def _in_words(rule: Rule, difference: Interval, champion: str) -> str:
    if difference.low == difference.high == 0:
        return f"{rule.metric} is the very same as champion {champion}'s, row by row"
    return (
        f"{rule.metric} against champion {champion} on the same rows: {difference.value:+.4g} "
        f"(95 % interval {difference.low:+.4g} to {difference.high:+.4g})"
    )


def _slices_below(rule: Rule, slices: Mapping[str, Slice], higher_is_better: bool) -> list[str]:
    if rule.slice_floor is None:
        return []
    return [
        f"{name}: {rule.metric} {part.value:.4g} does not reach the slice floor of {rule.slice_floor:g}"
        for name, part in slices.items()
        if not _reaches(part.value, rule.slice_floor, higher_is_better)
    ]


def _reaches(value: float, floor: float, higher_is_better: bool) -> bool:
    return value >= floor if higher_is_better else value <= floor


def _finite(interval: Interval) -> bool:
    return all(map(math.isfinite, (interval.value, interval.low, interval.high)))
