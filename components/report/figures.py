"""Figures of a verdict: metrics with their intervals, the difference, slices, the learning curve, drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import drift as drifts
from .drift import Drift
from .facts import Facts, Interval
from .svg import (
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
)  # fmt: skip
from .text import LOWER_IS_BETTER, SHARES, change, finite, label, measure, number, short, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, HALF = 760, 440
MOST_METRICS, MOST_SLICES, MOST_COLUMNS = 6, 24, 16
DRIFT_COLOURS = {"stable": STABLE, "moderate": MODERATE, "large": LARGE}


def comparison(facts: Facts) -> str:
    """Draw every metric with its interval, the challenger above the champion, a panel for each metric."""
    names = list(facts.metrics)[:MOST_METRICS]
    across = min(len(names), 3)
    sides = [("challenger", CHALLENGER, "o", facts.metrics)]
    if facts.champion is not None:
        sides.append((champion_name(facts), CHAMPION, "D", facts.champion_metrics))
    panel = 34 * len(sides) + 26
    figure = canvas(WIDE, (panel + 62) * -(-len(names) // across))
    wide = (WIDE - 110 - 26 * across) / across
    for index, name in enumerate(names):
        left = 104 + (index % across) * (wide + 30)
        axes = place(figure, left, 32 + (index // across) * (panel + 62), wide, panel)
        for height, (_, colour, marker, metrics) in enumerate(reversed(sides)):
            _interval(axes, height, metrics.get(name), name, colour, marker)
        axes.set_ylim(-0.6, len(sides) - 0.35)
        labels = [side[0] for side in reversed(sides)] if index % across == 0 else [""] * len(sides)
        axes.set_yticks(range(len(sides)), labels)
        axes.set_title(label(name) + (" · lower is better" if name in LOWER_IS_BETTER else ""))
        if name == facts.rule.get("metric", facts.primary):
            _floor(axes, facts.rule.get("floor"))
        _scale(axes, name)
    told = (f"{side[0]} {label(name)} {_told(name, side[3].get(name))}" for name in names for side in sides)
    return inline(figure, "comparison", "Metrics on the holdout with 95 % intervals: " + "; ".join(told))


def champion_name(facts: Facts) -> str:
    """Return what the champion is called in the report, with its version where it is known."""
    version = (facts.champion or {}).get("version")
    return f"champion v{short(version, 8)}" if version else "champion"


def difference(facts: Facts) -> str:
    """Draw the challenger's improvement with its interval against the line that it has to clear."""
    found, metric = facts.difference, facts.primary
    assert found is not None, "drawn only where there is a difference"  # noqa: S101
    line = 0.0 if facts.rule.get("superiority", True) else -float(facts.rule.get("margin") or 0.0)
    figure = canvas(WIDE, 132)
    axes = place(figure, 104, 30, WIDE - 132, 62)
    ends = [0.0, line, *(x for x in (found.value, found.low, found.high) if finite(x))]
    pad = 0.18 * (max(ends) - min(ends) or 0.02)
    axes.set_xlim(min(ends) - pad, max(ends) + pad)
    axes.set_ylim(-1, 1.2)
    axes.axvspan(line, max(ends) + pad, color=WASH, lw=0)
    axes.axvline(0, color=MUTED, lw=1)
    if line:
        axes.axvline(line, color=LARGE, lw=1.2, ls=(0, (4, 3)))
        axes.text(line, 1.28, "margin", color=LARGE, ha="center", va="bottom", fontsize=10)
    _interval(axes, 0, found, metric, CHALLENGER, "o", change)
    axes.text(0, 1.28, "no difference", color=MUTED, ha="center", va="bottom", fontsize=10)
    axes.set_yticks([0], ["difference"])
    axes.text(0, -0.62, "← worse", color=MUTED, transform=axes.transAxes, va="center", fontsize=10.5)
    axes.text(
        1, -0.62, "better →", color=MUTED, transform=axes.transAxes, ha="right", va="center", fontsize=10.5
    )
    axes.xaxis.set_major_formatter(lambda value, _: change(metric, value).removesuffix(" points"))
    unit = "percentage points" if metric in SHARES else ""
    axes.set_xlabel(f"challenger minus champion, {label(metric)}" + (f", {unit}" if unit else ""))
    told = f"{change(metric, found.value)}, 95 % interval {change(metric, found.low)} to {change(metric, found.high)}"
    return inline(figure, "difference", f"Challenger minus champion, {label(metric)}: {told}")


def slices(facts: Facts, found: dict[str, dict[str, Any]]) -> str:
    """Draw each slice's value beside the champion's; where there are too many, the worst ones."""
    metric = facts.primary
    worst = sorted(found, key=lambda name: _order(found[name].get("value")))[:MOST_SLICES]
    names = [name for name in found if name in set(worst)]
    figure = canvas(HALF, 27 * len(names) + 72)
    axes = place(figure, 112, 30, HALF - 134, 27 * len(names))
    for height, name in enumerate(reversed(names)):
        value, champion = found[name].get("value"), found[name].get("champion")
        axes.axhline(height, color=GRID, lw=0.8)
        if finite(value) and finite(champion):
            axes.plot([champion, value], [height, height], color=CHAMPION, lw=1.4, alpha=0.5)
        if finite(champion):
            axes.plot([champion], [height], "D", color="white", mec=CHAMPION, mew=1.5, ms=6)
        if finite(value):
            axes.plot([value], [height], "o", color=CHALLENGER, ms=7)
    labels = [f"{short(name, 12)} · {number(found[name].get('rows'))}" for name in reversed(names)]
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(-0.6, len(names) - 0.4)
    _floor(axes, facts.rule.get("slice_floor"))
    _scale(axes, metric, headroom=0.06)
    axes.set_xlabel(label(metric))
    told = (
        f"{short(n)} {measure(metric, found[n].get('value'))}, champion {measure(metric, found[n].get('champion'))}"
        for n in names
    )
    return inline(figure, "slices", f"{label(metric)} by slice: " + "; ".join(told))


def curve(steps: list[dict[str, float]]) -> str:
    """Draw each quantity of the learning curve over the steps, a panel for each, at most three."""
    over = "step" if "step" in steps[0] else next(iter(steps[0]))
    names = [name for name in dict.fromkeys(key for step in steps for key in step) if name != over][:3]
    figure = canvas(WIDE, 210)
    wide = (WIDE - 90 * len(names)) / max(len(names), 1)
    for index, name in enumerate(names):
        axes = place(figure, 62 + index * (wide + 90), 28, wide, 132)
        points = [
            (step[over], step[name]) for step in steps if finite(step.get(over)) and finite(step.get(name))
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=CHALLENGER, lw=2, marker="o", ms=3.5)
            axes.annotate(
                number(float(points[-1][1])), points[-1], xytext=(0, 8), textcoords="offset points",
                ha="center", color=INK, fontsize=10.5, fontweight="bold",
            )  # fmt: skip
        axes.grid(axis="y")
        axes.margins(x=0.04, y=0.18)
        axes.yaxis.set_major_formatter(lambda value, _: number(float(value)))
        axes.locator_params(axis="y", nbins=4)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(label(over))
        axes.set_title(label(name))
    told = (f"{label(n)} from {number(steps[0].get(n))} to {number(steps[-1].get(n))}" for n in names)
    return inline(figure, "curve", f"Learning curve over {len(steps)} steps: " + "; ".join(told))


def drift(found: list[Drift]) -> str:
    """Draw the stability index of the columns that moved farthest, with the limits of its words."""
    shown = found[:MOST_COLUMNS]
    # One column gone altogether must not flatten the others; its bar ends at the edge, its number is true.
    reach = max(0.32, min(1.15 * max(one.psi for one in shown), 1.0))
    figure = canvas(WIDE, 24 * len(shown) + 76)
    axes = place(figure, 112, 28, WIDE - 190, 24 * len(shown))
    for height, one in enumerate(reversed(shown)):
        axes.barh(height, min(one.psi, reach), height=0.6, color=DRIFT_COLOURS[one.word])
        axes.plot([one.chance] * 2, [height - 0.36, height + 0.36], color=INK, lw=1.4)
        axes.text(
            min(max(one.psi, one.chance), reach) + reach * 0.012,
            height,
            f"{one.psi:.3f}",
            va="center",
            fontsize=10.5,
        )
    for limit, word in ((drifts.MODERATE, "moderate from 0.1"), (drifts.LARGE, "large from 0.25")):
        axes.axvline(
            limit,
            color=DRIFT_COLOURS["moderate" if limit < drifts.LARGE else "large"],
            lw=1.2,
            ls=(0, (4, 3)),
        )
        axes.text(limit, len(shown) - 0.3, word, color=MUTED, ha="center", va="bottom", fontsize=10)
    axes.set_yticks(range(len(shown)), [short(one.column, 15) for one in reversed(shown)])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(0, reach)
    axes.set_xlabel("population stability index; the dark tick is what chance alone would give")
    told = (f"{short(one.column)} {one.psi:.3f}, {one.word}" for one in shown)
    return inline(figure, "drift", "Population stability index by column: " + "; ".join(told))


def _interval(
    axes: Axes,
    height: float,
    found: Interval | None,
    metric: str,
    colour: str,
    marker: str,
    said: Any = measure,
) -> None:
    if found is None or not finite(found.value):
        axes.text(
            0.5, height, "–", transform=axes.get_yaxis_transform(), ha="center", va="center", color=MUTED
        )
        return
    if finite(found.low) and finite(found.high):
        axes.plot([found.low, found.high], [height, height], color=colour, lw=2.4, solid_capstyle="round")
    axes.plot([found.value], [height], marker, color=colour, ms=8, mec="white", mew=1)
    axes.annotate(
        said(metric, found.value), (found.value, height), xytext=(0, 7), textcoords="offset points",
        ha="center", va="bottom", color=INK, fontsize=10.5, fontweight="bold",
    )  # fmt: skip


def _floor(axes: Axes, floor: Any) -> None:
    if not finite(floor):
        return
    axes.axvline(float(floor), color=LARGE, lw=1.2, ls=(0, (4, 3)))
    axes.text(
        float(floor), 1.0, " floor", color=LARGE, fontsize=10, va="top", transform=axes.get_xaxis_transform()
    )


def _scale(axes: Axes, metric: str, headroom: float = 0.14) -> None:
    axes.margins(x=headroom)
    axes.locator_params(axis="x", nbins=4)
    if metric in SHARES:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))


def _told(name: str, found: Interval | None) -> str:
    return f"{measure(name, found.value)} ({span(name, found)})" if found else "–"


def _order(value: Any) -> float:
    return float(value) if finite(value) else float("-inf")
