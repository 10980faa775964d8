"""Figures of a verdict: metrics with their intervals, the difference, slices, the learning curve, drift."""

from __future__ import annotations

from typing import Any

from continuous_training.evaluation import drift as drifts
from continuous_training.evaluation.drift import Drift
from continuous_training.report.formatting import (
    LOWER_IS_BETTER,
    SHARES,
    change,
    finite,
    label,
    measure,
    number,
    short,
    span,
)
from continuous_training.report.marks import heading, interval, limit, scale, spoken
from continuous_training.report.report_data import Facts, Interval
from continuous_training.report.svg import (
    CHALLENGER,
    CHAMPION,
    GRID,
    INK,
    LARGE,
    MODERATE,
    MUTED,
    STABLE,
    WASH,
    canvas,
    inline,
    place,
)

WIDE, HALF = 760, 440
MOST_METRICS, MOST_SLICES, MOST_COLUMNS = 6, 24, 16
FARTHEST = 0.5
"""Where the axis of drift ends at most: one column that is gone altogether must not flatten the others."""
COLOURS = {"stable": STABLE, "moderate": MODERATE, "large": LARGE}


def comparison(facts: Facts) -> str:
    """Draw every metric with its interval, the challenger above the champion, a panel for each metric."""
    names = list(facts.metrics)[:MOST_METRICS]
    across = min(len(names), 3)
    sides = {"challenger": facts.metrics}
    if facts.champion is not None:
        sides = {champion_name(facts): facts.champion_metrics, **sides}
    panel = 34 * len(sides) + 26
    figure = canvas(WIDE, (panel + 60) * -(-len(names) // across))
    wide = (WIDE - 110 - 26 * across) / across
    for index, name in enumerate(names):
        down, right = divmod(index, across)
        axes = place(figure, 104 + right * (wide + 30), 30 + down * (panel + 60), wide, panel)
        for height, (side, metrics) in enumerate(sides.items()):
            interval(axes, height, metrics.get(name), name, side == "challenger")
        axes.set_ylim(-0.7, len(sides) - 0.35)
        axes.set_yticks(range(len(sides)), ["" if right else side for side in sides])
        better = " · lower is better" if name in LOWER_IS_BETTER else ""
        axes.set_title(short(label(name), 16 if better else 30) + better)
        if name == facts.primary:
            limit(axes, facts.rule.get("floor"), "floor")
        scale(axes, name, 0.14)
    told = (f"{s} {label(name)} {_told(name, of.get(name))}" for name in names for s, of in sides.items())
    return inline(figure, "comparison", "Metrics on the holdout with 95 % intervals: " + "; ".join(told))


def champion_name(facts: Facts) -> str:
    """Return what the champion is called in the report, with its version where it is known."""
    version = (facts.champion or {}).get("version")
    return f"champion v{short(version, 8)}" if version else "champion"


def difference(facts: Facts, found: Interval) -> str:
    """Draw the challenger's improvement with its interval against the line that it has to clear."""
    metric = facts.primary
    line = 0.0 if facts.rule.get("superiority", True) else -float(facts.rule.get("margin") or 0.0)
    figure = canvas(WIDE, 146)
    axes = place(figure, 104, 26, WIDE - 132, 74)
    ends = [0.0, line, *(x for x in (found.value, found.low, found.high) if finite(x))]
    pad = 0.18 * (max(ends) - min(ends) or 0.02)
    axes.set(xlim=(min(ends) - pad, max(ends) + pad), ylim=(-1.3, 1.2))
    axes.axvspan(line, max(ends) + pad, color=WASH, lw=0)
    axes.axvline(0, color=MUTED, lw=1)
    heading(axes, 0.0, "no difference")
    if line:
        limit(axes, line, "margin")
    interval(axes, 0, found, metric, said=change)
    axes.set_yticks([0], ["difference"])
    for place_, word in ((0.012, "← worse"), (0.988, "better →")):
        side = "left" if place_ < 0.5 else "right"
        axes.text(place_, 0.06, word, color=MUTED, transform=axes.transAxes, ha=side, fontsize=10.5)
    shown = 100 if metric in SHARES else 1
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{shown * value:+.3g}".replace("-", "−") if value else "0"
    )
    unit = ", percentage points" if metric in SHARES else ""
    axes.set_xlabel(f"challenger minus champion, {label(metric)}{unit}")
    ends_told = f"{change(metric, found.low)} to {change(metric, found.high)}"
    told = f"{change(metric, found.value)}, 95 % interval {ends_told}"
    return inline(figure, "difference", f"Challenger minus champion, {label(metric)}: {told}")


def slices(facts: Facts, found: dict[str, dict[str, Any]], metric: str, wide: int = HALF) -> str:
    """Draw each slice's value beside the champion's; where there are too many, the worst ones."""
    worst = set(sorted(found, key=lambda name: _order(found[name].get("value")))[:MOST_SLICES])
    names = [name for name in found if name in worst][::-1]
    row = 34 if len(names) <= 12 else 24
    figure = canvas(wide, row * len(names) + 66)
    axes = place(figure, 116, 22, wide - 140, row * len(names))
    for height, name in enumerate(names):
        value, champion = found[name].get("value"), found[name].get("champion")
        axes.axhline(height, color=GRID, lw=0.8)
        if finite(value) and finite(champion):
            axes.plot([champion, value], [height, height], color=CHAMPION, lw=1.4, alpha=0.5)
        if finite(champion):
            axes.plot([champion], [height], "D", color="white", mec=CHAMPION, mew=1.5, ms=6)
        low, high = found[name].get("low"), found[name].get("high")
        if finite(low) and finite(high):
            axes.plot(
                [low, high], [height, height], color=CHALLENGER, lw=2, alpha=0.35, solid_capstyle="round"
            )
        if finite(value):
            axes.plot([value], [height], "o", color=CHALLENGER, ms=7.5)
    axes.set_yticks(range(len(names)), [f"{short(n, 12)} · {number(found[n].get('rows'))}" for n in names])
    axes.set_ylim(-0.7, len(names) - 0.4)
    if metric == facts.primary:
        limit(axes, facts.rule.get("slice_floor"), "floor")
    scale(axes, metric, 0.06)
    axes.set_xlabel(label(metric))
    sides = {n: [measure(metric, found[n].get(side)) for side in ("value", "champion")] for n in names[::-1]}
    told = (f"{short(name)} {ours}, champion {theirs}" for name, (ours, theirs) in sides.items())
    return inline(figure, "slices", f"{label(metric)} by slice: " + "; ".join(told))


def quantities(steps: list[dict[str, float]]) -> list[str]:
    """Return what a learning curve tells at its steps, beside the step itself; at most three."""
    found = dict.fromkeys(name for step in steps for name, value in step.items() if finite(value))
    return [name for name in found if name != "step"][:3]


def curve(steps: list[dict[str, float]]) -> str:
    """Draw each quantity of the learning curve over the steps, a panel for each."""
    names = quantities(steps)
    figure = canvas(WIDE, 210)
    wide = (WIDE - 84 * len(names)) / len(names)
    for index, name in enumerate(names):
        axes = place(figure, 62 + index * (wide + 84), 28, wide, 132)
        given = enumerate((step.get("step"), step.get(name)) for step in steps)
        points = [(at if finite(at) else place_ + 1, y) for place_, (at, y) in given if finite(y)]
        axes.plot([x for x, _ in points], [y for _, y in points], color=CHALLENGER, lw=2, marker="o", ms=3.5)
        spoken(axes, *points[-1], number(float(points[-1][1])))
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.18)
        axes.yaxis.set_major_formatter(lambda value, _: number(float(value)))
        axes.locator_params(axis="y", nbins=4)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("step")
        axes.set_title(short(label(name), 28))
    told = (f"{label(n)} from {number(steps[0].get(n))} to {number(steps[-1].get(n))}" for n in names)
    return inline(figure, "curve", f"Learning curve over {len(steps)} steps: " + "; ".join(told))


def drift(found: list[Drift]) -> str:
    """Draw the stability index of the columns that moved farthest, with the limits of its words."""
    shown = found[:MOST_COLUMNS][::-1]
    reach = max(0.32, min(1.15 * shown[-1].psi, FARTHEST))
    figure = canvas(WIDE, 24 * len(shown) + 76)
    axes = place(figure, 112, 28, WIDE - 190, 24 * len(shown))
    for height, one in enumerate(shown):
        end, chance = min(one.psi, reach), min(one.chance, reach)
        axes.barh(height, end, height=0.6, color=COLOURS[one.word])
        axes.plot([chance, chance], [height - 0.36, height + 0.36], color=INK, lw=1.4)
        text = f"{one.psi:.3f}" + (" ›" if one.psi > reach else "")
        axes.text(max(end, chance) + reach * 0.012, height, text, va="center", fontsize=10.5)
    for word, start in (("moderate", drifts.MODERATE), ("large", drifts.LARGE)):
        limit(axes, start, "", COLOURS[word])
        heading(axes, start, f"{word} from {start}")
    axes.set_yticks(range(len(shown)), [short(one.column, 15) for one in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(0, reach)
    axes.set_xlabel("population stability index; the dark tick is what chance alone would give")
    told = (f"{short(one.column)} {one.psi:.3f}, {one.word}" for one in shown[::-1])
    return inline(figure, "drift", "Population stability index by column: " + "; ".join(told))


def _told(name: str, found: Interval | None) -> str:
    return f"{measure(name, found.value)} ({span(name, found)})" if found else "–"


def _order(value: Any) -> float:
    return float(value) if finite(value) else float("-inf")
