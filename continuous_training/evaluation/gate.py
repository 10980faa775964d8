"""The gate: decide by the promotion rule whether a challenger may be served."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

from continuous_training.artifacts.measurements import SliceMetric, interval_label
from continuous_training.evaluation.check import Check, note
from continuous_training.evaluation.comparison import ChampionComparison, Comparison
from continuous_training.evaluation.metrics import Interval
from continuous_training.evaluation.population_checks import population_checks
from continuous_training.evaluation.promotion_rule import PromotionRule


@dataclass(frozen=True)
class Decision:
    """The gate's result: promoted or not, with every check.

    The first two checks are the floor of the primary metric and the comparison with the champion, except in a
    decision that needs a single check.
    """

    promoted: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The failed checks, or the first two checks of a promotion; in both cases with the notes."""
        return tuple(
            str(check)
            for index, check in enumerate(self.checks)
            if not check.passed or not check.limit or (self.promoted and index < 2)
        )

    def with_notes(self, *notes: Check) -> Decision:
        """Return the same decision with notes added."""
        return Decision(self.promoted, (*self.checks, *notes))


def decide(rule: PromotionRule, comparison: Comparison) -> Decision:
    """Return the decision on a challenger: promoted if every check passes.

    A request that leads to other outputs than the evaluation, and NaN or infinity in any number that the gate
    uses, reject the challenger without any other check.
    """
    if text := comparison.request_difference:
        check = Check("requests and evaluated tensors", text, "the same outputs for both", False)
        return Decision(False, (check,))
    if non_finite := list(_non_finite(rule, comparison)):
        limit = "no NaN or infinite number"
        return Decision(False, (Check("finite numbers", f"not in {', '.join(non_finite)}", limit, False),))
    population = tuple(population_checks(comparison))
    checks = (
        _floor(rule, comparison),
        *_unless_accepted(comparison, _champion(rule, comparison)),
        _minimum_rows(rule, comparison),
        *_slices(rule, comparison),
        *_budgets(rule, comparison),
        *_unless_accepted(comparison, _champion_budgets(rule, comparison)),
        *_unless_accepted(comparison, _guards(rule, comparison)),
    )
    # If the data differ, a person must look at them first, so this reason is the first one.
    passed = all(check.passed for check in population)
    checks = (*checks, *population) if passed else (*population, *checks)
    return Decision(all(check.passed for check in checks), checks)


def _unless_accepted(comparison: Comparison, checks: Iterator[Check]) -> Iterator[Check]:
    """Yield checks against the champion. One that failed is a note if a person accepted the comparison."""
    for check in checks:
        accepted = comparison.accepts_comparison and not check.passed
        yield note("accepted comparison", f"{comparison.accepted} ({check})") if accepted else check


def promote_same_model(version: str) -> Decision:
    """Return the decision on a challenger with the same bytes as the champion."""
    check = Check(f"model digest against champion {version}", "identical to the byte", "identical", True)
    return Decision(True, (check,))


def _non_finite(rule: PromotionRule, comparison: Comparison) -> Iterator[str]:
    yield from (name for name, interval in comparison.metrics.items() if not interval.finite)
    yield from (
        name for name, part in _large_slices(rule, comparison).items() if not math.isfinite(part.value)
    )
    if champion := comparison.champion:
        tests = [*champion.guard_tests.values(), *([champion.test] if champion.test else [])]
        intervals = champion.improvements.values()
        if not (all(i.finite for i in intervals) and all(math.isfinite(test.p) for test in tests)):
            yield "the comparison with the champion"
    yield from comparison.non_finite


def _floor(rule: PromotionRule, comparison: Comparison) -> Check:
    value = comparison.metrics[rule.metric].value
    return Check(
        rule.metric,
        f"{value:.4g} on {comparison.rows} holdout rows",
        _floor_text(rule.floor, comparison.higher_is_better),
        _reaches(value, rule.floor, comparison.higher_is_better),
    )


def _champion(rule: PromotionRule, comparison: Comparison) -> Iterator[Check]:
    """Yield the checks of the improvement and of the paired test, or the note that there is no champion."""
    champion = comparison.champion
    if champion is None:
        yield note("champion", "there is no champion yet, so only the floors decide")
        return
    improvement = champion.improvements[rule.metric]
    name, measured = _improvement_texts(rule, champion, rule.metric)
    if rule.superiority:
        yield Check(name, measured, "interval above 0", improvement.low > 0)
    else:
        limit = f"not worse by more than the margin of {rule.margin:g}"
        yield Check(name, measured, limit, improvement.low >= -rule.margin)
    if champion.test:
        yield _paired_test(rule, comparison, champion.test.name, champion.test.p, improvement)


def _paired_test(
    rule: PromotionRule, comparison: Comparison, name: str, p: float, improvement: Interval
) -> Check:
    """Return the check of a paired test. The bootstrap is too narrow if the models differ on few rows."""
    limit = 1 - rule.confidence
    measured = f"p = {p:.3g}"
    if limit < p < 1 and improvement.low == improvement.high == 0:
        # Without any difference, the squared test statistic is proportional to the number of rows.
        z_limit, z = (NormalDist().inv_cdf(1 - value / 2) for value in (limit, p))
        measured += f"; without any difference, about {comparison.rows * (z_limit / z) ** 2:.0f} rows suffice"
    return Check(name, measured, f"p at most {limit:.2g}", p <= limit)


def _minimum_rows(rule: PromotionRule, comparison: Comparison) -> Check:
    rows = comparison.rows
    return Check("holdout rows", f"{rows}", f"at least {rule.minimum_rows}", rows >= rule.minimum_rows)


def _slices(rule: PromotionRule, comparison: Comparison) -> Iterator[Check]:
    if rule.slice_floor is None:
        return
    higher, parts = comparison.higher_is_better, _large_slices(rule, comparison)
    failed = {n: p for n, p in parts.items() if not _reaches(p.value, rule.slice_floor, higher)}
    if failed:
        measured = ", ".join(f"{part.value:.4g} in {name}" for name, part in failed.items())
    elif parts:
        worst = (min if higher else max)(parts, key=lambda name: parts[name].value)
        measured = f"{parts[worst].value:.4g} in {worst}, the worst of {len(parts)}"
    else:
        measured = "no slice of that size"
    yield Check(
        f"{rule.metric} in each slice of {rule.slice_rows} rows or more",
        measured,
        _floor_text(rule.slice_floor, higher),
        not failed,
    )


def _budgets(rule: PromotionRule, comparison: Comparison) -> Iterator[Check]:
    cost = comparison.cost
    if cost is None:
        return
    latency, size = cost.latency_ms, cost.size_mb
    if latency is not None and rule.latency_ms is not None:
        limit = f"at most {rule.latency_ms:g} ms"
        yield Check("request latency", f"{latency:.3g} ms", limit, latency <= rule.latency_ms)
    if rule.size_mb is not None:
        yield Check("model size", f"{size:.3g} MB", f"at most {rule.size_mb:g} MB", size <= rule.size_mb)


def _champion_budgets(rule: PromotionRule, comparison: Comparison) -> Iterator[Check]:
    """Yield the checks of the budgets that are relative to the champion."""
    cost, champion = comparison.cost, comparison.champion
    if cost is None or champion is None or champion.cost is None:
        return
    latency, champion_latency = cost.latency_ms, champion.cost.latency_ms
    if latency is not None and champion_latency is not None and rule.latency_ratio is not None:
        yield Check(
            f"request latency against champion {champion.version}",
            f"{latency:.3g} ms, champion {champion_latency:.3g} ms",
            f"at most {rule.latency_ratio:g} times the champion's",
            latency <= rule.latency_ratio * champion_latency,
        )
    if rule.size_ratio is not None:
        yield Check(
            f"model size against champion {champion.version}",
            f"{cost.size_mb:.3g} MB, champion {champion.cost.size_mb:.3g} MB",
            f"at most {rule.size_ratio:g} times the champion's",
            cost.size_mb <= rule.size_ratio * champion.cost.size_mb,
        )


def _guards(rule: PromotionRule, comparison: Comparison) -> Iterator[Check]:
    champion = comparison.champion
    if champion is None:
        return
    for metric, limit in rule.guards.items():
        name, measured = _improvement_texts(rule, champion, metric)
        improvement = champion.improvements[metric]
        yield Check(
            f"{name} (guard)", measured, f"not worse by more than {limit:g}", improvement.low >= -limit
        )
        if test := champion.guard_tests.get(metric):
            name = f"{test.name} (guard {metric})"
            yield _paired_test(rule, comparison, name, test.p, improvement)


def _improvement_texts(rule: PromotionRule, champion: ChampionComparison, metric: str) -> tuple[str, str]:
    """Return the name and the measured value of a check of a paired improvement."""
    return (
        f"{metric} against champion {champion.version} on the same rows",
        _improvement_text(champion.improvements[metric], rule.confidence),
    )


def _improvement_text(improvement: Interval, confidence: float) -> str:
    if improvement.low == improvement.high == 0:
        return "no difference on any row"
    ends = f"{improvement.low:+.4g} to {improvement.high:+.4g}"
    return f"{improvement.value:+.4g} ({interval_label(confidence)} {ends})"


def _reaches(value: float, floor: float, higher_is_better: bool) -> bool:
    return value >= floor if higher_is_better else value <= floor


def _floor_text(floor: float, higher_is_better: bool) -> str:
    return f"{'at least' if higher_is_better else 'at most'} {floor:g}"


def _large_slices(rule: PromotionRule, comparison: Comparison) -> dict[str, SliceMetric]:
    """Return the slices that have enough rows to decide."""
    return {name: part for name, part in comparison.slices.items() if part.rows >= rule.slice_rows}
