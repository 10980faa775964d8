"""The data of the report's section on the promotion rule: every condition, whether or not it was checked."""

from __future__ import annotations

from collections.abc import Iterator

from continuous_training.core.json_object import Json
from continuous_training.report.formatting import LOWER_IS_BETTER, clean, finite, label
from continuous_training.report.report_data import ReportData
from continuous_training.report.templating import Variables

_BUDGETS = {
    "latency_ms": ("request latency", "at most {:g} ms"),
    "latency_ratio": ("request latency", "at most {:g} times the champion's"),
    "size_mb": ("model size", "at most {:g} MB"),
    "size_ratio": ("model size", "at most {:g} times the champion's"),
}
_POPULATION_BOUNDS = {
    "score_fall": (
        "the champion's {} since its promotion",
        "a fall of at most {:g}, or explained by the rows",
    ),
    "mean_shift": ("mean of each column", "moved by at most {:g} standard deviations"),
    "spread_ratio": ("standard deviation of each column", "at most {:g} times as large or small"),
    "lost_values": ("values that no longer occur", "of at most {:g} of the champion's rows"),
    "vocabulary_change": ("words of each text", "changed by at most {:g}; 1: no word in common"),
    "rows_fall": ("rows", "at least {:g} times the champion's"),
    "rows_rise": ("rows", "at most {:g} times the champion's"),
}
"""The bounds beyond which the data differ from the data that the champion was promoted on."""


def context(data: ReportData) -> Variables:
    """Return the template variables of this section."""
    return {"conditions": list(_conditions(data))}


def _conditions(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yield the subject and the text of each condition of the stored rule."""
    rule = data.evaluation.rule
    name = str(rule.get("metric", data.primary))
    metric, bound = label(name), "at most" if name in LOWER_IS_BETTER else "at least"
    if finite(floor := rule.get("floor")):
        yield metric, f"{bound} {floor:g}"
    if rule.get("superiority"):
        yield f"{metric} against the champion", f"better, {_confidence(rule)}"
    elif finite(margin := rule.get("margin")):
        yield f"{metric} against the champion", f"not worse by more than {margin:g}, {_confidence(rule)}"
    guards = rule.get("guards")
    for guard, limit in guards.items() if isinstance(guards, dict) else ():
        limit_text = f"not worse by more than {limit:g}" if finite(limit) else clean(limit)
        yield f"{label(guard)} against the champion (guard)", f"{limit_text}, {_confidence(rule)}"
    if finite(rows := rule.get("minimum_rows")):
        yield "holdout rows", f"at least {rows:g}"
    if finite(floor := rule.get("slice_floor")):
        yield f"{metric} in each slice of {rule.get('slice_rows')} rows or more", f"{bound} {floor:g}"
    for key, (subject, text) in (_BUDGETS | _POPULATION_BOUNDS).items():
        if finite(limit := rule.get(key)):
            yield subject.format(metric), text.format(limit)


def _confidence(rule: Json) -> str:
    confidence = rule.get("confidence")
    return f"at a confidence of {100 * confidence:g} %" if finite(confidence) else ""
