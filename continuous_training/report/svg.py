"""Plots as inline SVG: small, reproducible byte by byte, with text that remains text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from continuous_training.evaluation.metrics import Interval
from continuous_training.report.formatting import NOTHING, PERCENT_METRICS, clean, finite, metric_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, WASH = "#1c2733", "#5b6775", "#e4e9ef", "#eaf3fa"
CHALLENGER, CHAMPION = "#0b62a8", "#7d8896"
STABLE, MODERATE, LARGE = "#8fb3d1", "#dd9d0a", "#c2410c"
"""Blue, grey, amber and vermilion: distinguishable with any colour blindness, and in greyscale."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # A dollar sign in a label is not the start of a formula.
    "text.parse_math": False,
    "font.size": 11.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11.0,
    "axes.edgecolor": "#b9c2cc",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": "#b9c2cc",
    "ytick.color": "#b9c2cc",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
}
_REMOVED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.S
)
_TAG = re.compile(r"<[^<>]+>")
_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*")


@contextmanager
def plot_style() -> Iterator[None]:
    """Use the style of the report in the block, independent of the machine's matplotlib settings."""
    import matplotlib  # Only the commands that draw pay for this import.

    with matplotlib.rc_context(), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; sizes are in CSS pixels of the unscaled page."""
    from matplotlib.figure import Figure  # Only the commands that draw pay for this import.

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes with the upper left corner at `left`, `top`; all values in pixels."""
    figure_width, figure_height = figure.get_size_inches() * 72
    return figure.add_axes(
        (
            left / figure_width,
            1 - (top + height) / figure_height,
            width / figure_width,
            height / figure_height,
        )
    )


def inline_svg(figure: Figure, name: str, alternative: str) -> Markup:
    """Return the figure as an SVG element for an HTML page.

    `name` is the prefix of the ids, which keeps those of several figures distinct. `alternative` is the text
    alternative.
    """
    buffer = io.StringIO()
    no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=no_metadata, transparent=True)
    width, height = (round(float(size) * 72) for size in figure.get_size_inches())
    svg = _TAG.sub(lambda tag: _simplify(tag[0], name), _REMOVED.sub("", buffer.getvalue()))
    body = re.sub(r">\s+<", "><", svg[svg.index(">", svg.index("<svg")) + 1 :].strip())
    start = f'<svg class="figure" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return Markup(f'{start} aria-label="{escape(clean(alternative))}">{body}')


def _simplify(tag: str, name: str) -> str:
    tag = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    # The page sets the font family; fonts of this machine may be missing on the reader's.
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", _FONT.sub(_short_font, tag))
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    return re.sub(r"\d+\.\d{3,}", lambda digits: f"{float(digits[0]):.2f}", " ".join(tag.split()))


def _short_font(match: re.Match[str]) -> str:
    """Return size and weight of a font in the form that some versions of matplotlib write."""
    return f"font-size: {match[2]}px" + (f"; font-weight: {match[1]}" if match[1] else "")


def draw_interval(
    axes: Axes,
    height: float,
    interval: Interval | None,
    metric: str,
    is_challenger: bool = True,
    value_text: Callable[[str, Any], str] = metric_value,
) -> None:
    """Draw a value with its interval at that height; a dash if the value is missing."""
    if interval is None or not finite(interval.value):
        middle = axes.get_yaxis_transform()
        axes.text(0.5, height, NOTHING, transform=middle, ha="center", va="center", color=MUTED)
        return
    colour = CHALLENGER if is_challenger else CHAMPION
    if finite(interval.low) and finite(interval.high):
        ends = [interval.low, interval.high]
        axes.plot(ends, [height, height], color=colour, lw=2.4, solid_capstyle="round")
    marker = "o" if is_challenger else "D"
    axes.plot([interval.value], [height], marker, color=colour, ms=8, mec="white", mew=1)
    draw_value(axes, interval.value, height, value_text(metric, interval.value))


def draw_value(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a value above its marker."""
    axes.annotate(
        text, (x, y), xytext=(0, 7), textcoords="offset points", ha="center", va="bottom",
        color=INK, fontsize=10.5, fontweight="bold",
    )  # fmt: skip


def draw_limit(axes: Axes, value: object, text: str, colour: str = LARGE) -> None:
    """Draw a dashed vertical line with a text at its lower end; nothing if the value is not finite."""
    if not finite(value):
        return
    axes.axvline(float(value), color=colour, lw=1.2, ls=(0, (4, 3)))
    axes.annotate(
        text, (float(value), 0.0), xycoords=axes.get_xaxis_transform(), xytext=(4, 3),
        textcoords="offset points", color=colour, fontsize=10,
    )  # fmt: skip


def draw_heading(axes: Axes, value: float, text: str) -> None:
    """Write a text above the axes at a value of the x axis."""
    axes.text(
        value, 1.03, text, color=MUTED, fontsize=10, ha="center", va="bottom",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip


def set_metric_scale(axes: Axes, metric: str, margin: float) -> None:
    """Set about four ticks in the unit of the metric, and a margin at both ends of the axis."""
    axes.margins(x=margin)
    axes.locator_params(axis="x", nbins=4)
    if metric in PERCENT_METRICS:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}".replace("-", "−"))
