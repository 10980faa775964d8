"""Sections on the verdict: metrics, difference, predictions, learning, and the rule in words."""

from __future__ import annotations

from continuous_training.report import plots, prediction_plots, regression_plots
from continuous_training.report.formatting import (
    LOWER_IS_BETTER,
    change,
    escape,
    finite,
    improvement,
    label,
    measure,
    span,
    table,
)
from continuous_training.report.report_data import Facts


def captioned(drawn: str, caption: str = "") -> str:
    """Return the figure with its caption; the caption is HTML already."""
    return f"<figure>{drawn}" + (f"<figcaption>{caption}</figcaption>" if caption else "") + "</figure>"


def section(title: str, body: str, level: int = 2) -> str:
    """Return a section under its heading; both are HTML already."""
    return f"<section><h{level}>{title}</h{level}>{body}</section>"


def metrics(facts: Facts) -> str:
    """Return the challenger's metrics beside the champion's, as a figure and as a table."""
    if not facts.metrics:
        return section("Metrics", "<p>Nothing was measured.</p>")
    head, title = ["metric", "challenger", "95 % interval"], "The first model against the floor"
    caption = "On the holdout; the lines are 95 % intervals. There is no champion yet: the floor decides."
    if facts.champion is not None:
        head += [escape(plots.champion_name(facts)), "95 % interval", "improvement"]
        title, caption = (
            "Challenger and champion",
            "On the same rows of the holdout; the lines are 95 % intervals.",
        )
    body = table(head, (_metric(facts, name) for name in facts.metrics), range(1, len(head)))
    return section(title, captioned(plots.comparison(facts), caption) + body)


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
    found, metric = facts.difference, facts.primary
    if facts.champion is None:
        return ""
    if found is None or not finite(found.value):
        return section("Difference", "<p>The difference from the champion could not be computed.</p>", 3)
    wanted = "above zero" if facts.rule.get("superiority", True) else "right of the margin"
    ends = f"{change(metric, found.low)} to {change(metric, found.high)}"
    caption = (
        f"95 % interval {ends}, bootstrapped over the rows that both models judged. "
        f"To be promoted, the whole line lies {wanted}: in the shade."
    )
    return section("The difference that decides", captioned(plots.difference(facts, found), caption), 3)


def predicted(facts: Facts) -> str:
    """Return where the model is right and where it is wrong."""
    if not prediction_plots.drawable(facts):
        return section("Predictions", "<p>There are no predictions to draw.</p>")
    if facts.task == "regression":
        caption = "Rows of the holdout; on the line the prediction is exact."
        drawn = captioned(prediction_plots.errors(facts), caption) + _slices(facts, plots.WIDE)
        return section("Predictions", drawn) + _fit(facts)
    caption = "Rows of the holdout. Blue is right; orange is wrong, and shaded four times as strongly."
    matrix = captioned(prediction_plots.confusion(facts), caption)
    return section("Predictions", f'<div class="pair">{matrix}{_slices(facts, plots.HALF)}</div>')


def _fit(facts: Facts) -> str:
    """Return the fit over the one feature, where there is one, and the residuals."""
    over, left = regression_plots.fit(facts), regression_plots.residuals(facts)
    caption = (
        "Left: a cloud without a shape around zero is what nothing more can be learnt from; the dark line is "
        "the mean of neighbours. Right: on the line the residuals are normal."
    )
    named = escape(facts.feature[0]) if facts.feature else ""
    shown = section(f"The fit over {named}", captioned(over, "Rows of the holdout."), 3) if over else ""
    return shown + (section("Residuals", captioned(left, caption), 3) if left else "")


def _slices(facts: Facts, wide: int) -> str:
    found, metric, what = facts.slices, facts.primary, "slice"
    if not found and facts.task == "classification":
        found, metric, what = prediction_plots.classes(facts), "accuracy", "class"
    if not found:
        return ""
    few = len(found) - plots.MOST_SLICES
    caption = f"By {what}, each with its number of rows"
    caption += " and its 95 % interval" if any("low" in one for one in found.values()) else ""
    caption += "." if facts.champion is None else "; the open mark is the champion."
    caption += f" The {few} best are left out." if few > 0 else ""
    return captioned(plots.slices(facts, found, metric, wide), caption)


def learning(facts: Facts) -> str:
    """Return the learning curve; nothing for a model that has none."""
    drawn = plots.quantities(facts.curve)
    return section("Learning curve", captioned(plots.curve(facts.curve))) if drawn else ""
