"""Sections on the verdict: metrics, difference, predictions, learning, and the rule in words."""

from __future__ import annotations

from . import figures, predictions
from .facts import Facts
from .text import (
    LOWER_IS_BETTER,
    NOTHING,
    change,
    escape,
    finite,
    improvement,
    label,
    measure,
    number,
    pairs,
    show,
    span,
    table,
)  # fmt: skip


def captioned(drawn: str, caption: str = "") -> str:
    """Return the figure with its caption; the caption is HTML already."""
    return f"<figure>{drawn}" + (f"<figcaption>{caption}</figcaption>" if caption else "") + "</figure>"


def metrics(facts: Facts) -> str:
    """Return the challenger's metrics beside the champion's, as a figure and as a table."""
    if not facts.metrics:
        return "<section><h2>Metrics</h2><p>Nothing was measured.</p></section>"
    first = facts.champion is None
    title = "Metrics against the floor" if first else "Challenger and champion"
    told = "on the holdout; lines are 95 % bootstrap intervals"
    head = ["metric", "challenger", "95 % interval"]
    if not first:
        head += [escape(figures.champion_name(facts)), "95 % interval", "improvement"]
    body = table(head, (_metric(facts, name) for name in facts.metrics), range(1, len(head)))
    also = (
        "There is no champion yet, so the floor is all that decides."
        if first
        else "Both judged on the same rows."
    )
    return f"<section><h2>{title}</h2>{captioned(figures.comparison(facts), f'All {told}. {also}')}{body}</section>"


def _metric(facts: Facts, name: str) -> list[str]:
    ours, theirs = facts.metrics.get(name), facts.champion_metrics.get(name)
    primary = name == facts.primary
    title = escape(label(name)) + (
        ' <span class="note">lower is better</span>' if name in LOWER_IS_BETTER else ""
    )
    cells = [
        f'<span class="primary">{title}</span>' if primary else title,
        measure(name, ours and ours.value),
        span(name, ours),
    ]
    if facts.champion is None:
        return cells
    better = improvement(name, ours, theirs)
    if primary and facts.difference is not None:
        better = facts.difference.value
    return [*cells, measure(name, theirs and theirs.value), span(name, theirs), change(name, better)]


def difference(facts: Facts) -> str:
    """Return the difference that decides, or a sentence why there is none."""
    if facts.champion is None:
        return ""
    if facts.difference is None or not finite(facts.difference.value):
        return "<section><h3>Difference</h3><p>The difference from the champion could not be computed.</p></section>"
    metric, found = facts.primary, facts.difference
    wanted = "above zero" if facts.rule.get("superiority", True) else "right of the margin"
    caption = (
        f"{change(metric, found.value)} {escape(label(metric))}, 95 % {change(metric, found.low)} to "
        f"{change(metric, found.high)}: a bootstrap over pairs, both models on the same rows of the holdout. "
        f"To be promoted the whole line has to lie {wanted}, in the shaded part."
    )
    return f"<section><h3>The difference that decides</h3>{captioned(figures.difference(facts), caption)}</section>"


def predicted(facts: Facts) -> str:
    """Return where the model is right and where it is wrong."""
    if not predictions.drawable(facts):
        return "<section><h2>Predictions</h2><p>There are no predictions to draw.</p></section>"
    if facts.task == "regression":
        drawn = captioned(
            predictions.errors(facts), "Each point is a row of the holdout; the line is an exact prediction."
        )
        return f"<section><h2>Predictions</h2>{drawn}{_slices(facts)}</section>"
    caption = "Rows of the holdout: blue is right, orange is wrong and shaded four times as strongly."
    matrix = captioned(predictions.confusion(facts), caption)
    return f'<section><h2>Predictions</h2><div class="pair">{matrix}{_slices(facts)}</div></section>'


def _slices(facts: Facts) -> str:
    found = facts.slices or (predictions.classes(facts) if facts.task == "classification" else {})
    if not found:
        return ""
    beside = "" if facts.champion is None else "; the champion is the open mark"
    metric = escape(label(facts.primary if facts.slices else "accuracy"))
    return captioned(
        figures.slices(facts, found), f"{metric} by slice, with the slice's rows{beside}.".capitalize()
    )


def learning(facts: Facts) -> str:
    """Return the learning curve; nothing for a model that has none."""
    if not facts.curve:
        return ""
    return f"<section><h2>Learning curve</h2>{captioned(figures.curve(facts.curve))}</section>"


def rule(facts: Facts) -> str:
    """Return the promotion rule in words, each beside what this run measured.

    It repeats no judgement: the verdict is made in one place, and a second opinion here could only differ.
    """
    lines = [[words, measured] for words, measured in _rule(facts)]
    return f"<section><h2>The rule</h2>{table(['to be promoted', 'this run'], lines, (1,))}</section>"


def _rule(facts: Facts) -> list[tuple[str, str]]:
    given, metric = facts.rule, str(facts.rule.get("metric") or facts.primary)
    name = escape(label(metric))
    ours = facts.metrics.get(metric)
    lines = [(f"{name} reaches {measure(metric, given.get('floor'))}", measure(metric, ours and ours.value))]
    found = facts.difference
    against = "no champion" if facts.champion is None else NOTHING
    if found is not None:
        against = f"{change(metric, found.low)} at the least"
    margin = _margin(metric, given.get("margin"))
    lines.append(
        ("the improvement over the champion is above zero, with 95 % confidence", against)
        if given.get("superiority", True)
        else (f"it is not worse than the champion by more than {margin}, with 95 % confidence", against)
    )
    if given.get("slice_floor") is not None:
        most = given.get("slice_rows", 0)
        values = [s.get("value") for s in facts.slices.values() if (s.get("rows") or 0) >= most]
        least = min((float(value) for value in values if finite(value)), default=None)
        words = f"{name} reaches {measure(metric, given['slice_floor'])} in every slice of {number(most)} rows or more"
        lines.append((words, f"{measure(metric, least)} in the worst"))
    held = ((facts.dataset.get("splits") or {}).get("holdout") or {}).get("rows")
    return [*lines, (f"{number(given.get('minimum_rows'))} rows or more are held out", number(held))]


def _margin(metric: str, value: object) -> str:
    return f"{change(metric, value).lstrip('+')}"


def parameters(facts: Facts) -> str:
    """Return the run's parameters, and what training noted down."""
    given = (
        pairs({name: show(value) for name, value in facts.parameters.items()})
        if facts.parameters
        else "<p>None.</p>"
    )
    noted = (
        f"<h3>Notes of the training</h3>{pairs({k: show(v) for k, v in facts.notes.items()})}"
        if facts.notes
        else ""
    )
    return f"<section><h2>Parameters</h2>{given}{noted}</section>"
