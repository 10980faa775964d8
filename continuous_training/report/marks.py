"""What figures are put together from: a value with its interval, a limit, a scale in the metric's unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from continuous_training.report.formatting import SHARES, finite, measure
from continuous_training.report.report_data import Interval
from continuous_training.report.svg import CHALLENGER, CHAMPION, INK, LARGE, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Said = Callable[[str, Any], str]


def interval(
    axes: Axes, height: float, found: Interval | None, metric: str, ours: bool = True, said: Said = measure
) -> None:
    """Draw a value with its interval at that height, the challenger's or the champion's; a dash for none."""
    if found is None or not finite(found.value):
        middle = axes.get_yaxis_transform()
        axes.text(0.5, height, "–", transform=middle, ha="center", va="center", color=MUTED)
        return
    colour = CHALLENGER if ours else CHAMPION
    if finite(found.low) and finite(found.high):
        axes.plot([found.low, found.high], [height, height], color=colour, lw=2.4, solid_capstyle="round")
    axes.plot([found.value], [height], "o" if ours else "D", color=colour, ms=8, mec="white", mew=1)
    spoken(axes, found.value, height, said(metric, found.value))


def spoken(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a value just above its mark."""
    axes.annotate(
        text, (x, y), xytext=(0, 7), textcoords="offset points", ha="center", va="bottom",
        color=INK, fontsize=10.5, fontweight="bold",
    )  # fmt: skip


def limit(axes: Axes, value: Any, word: str, colour: str = LARGE) -> None:
    """Draw a dashed line at a value, with its word at the line's foot; nothing when it is no number."""
    if not finite(value):
        return
    axes.axvline(float(value), color=colour, lw=1.2, ls=(0, (4, 3)))
    across = axes.get_xaxis_transform()
    axes.annotate(
        word, (float(value), 0.0), xycoords=across, xytext=(4, 3), textcoords="offset points",
        color=colour, fontsize=10,
    )  # fmt: skip


def heading(axes: Axes, value: float, word: str) -> None:
    """Write a word above the axes, over a value."""
    across = axes.get_xaxis_transform()
    axes.text(value, 1.03, word, color=MUTED, fontsize=10, ha="center", va="bottom", transform=across)


def scale(axes: Axes, metric: str, pad: float) -> None:
    """Give the axis some four ticks in the metric's unit, and room at its ends for a value."""
    axes.margins(x=pad)
    axes.locator_params(axis="x", nbins=4)
    if metric in SHARES:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))
