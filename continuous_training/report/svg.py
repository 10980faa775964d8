"""Figures as inline SVG: small, the same bytes each time, and with text that stays text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from continuous_training.report.formatting import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, WASH = "#1c2733", "#5b6775", "#e4e9ef", "#eaf3fa"
CHALLENGER, CHAMPION = "#0b62a8", "#7d8896"
STABLE, MODERATE, LARGE = "#8fb3d1", "#dd9d0a", "#c2410c"
"""Blue, grey, amber and vermilion: told apart with every kind of colour blindness, and in grey."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # A dollar sign in a label is a dollar sign.
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
_DROPPED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.S
)
_TAG = re.compile(r"<[^<>]+>")
_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*")


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style, whatever the machine's own settings are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # The reader's browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure; one unit is a CSS pixel where the page shows it unscaled."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes whose upper left corner stands at `left`, `top`, all in pixels."""
    wide, high = figure.get_size_inches() * 72
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def inline(figure: Figure, name: str, alternative: str) -> str:
    """Return the figure as an SVG element to stand in a page; `name` keeps its ids apart from others'."""
    buffer = io.StringIO()
    empty = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=empty, transparent=True)
    wide, high = (round(float(size) * 72) for size in figure.get_size_inches())
    drawn = _TAG.sub(lambda tag: _tidy(tag[0], name), _DROPPED.sub("", buffer.getvalue()))
    body = re.sub(r">\s+<", "><", drawn[drawn.index(">", drawn.index("<svg")) + 1 :].strip())
    start = f'<svg class="figure" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img"'
    return f'{start} aria-label="{escape(alternative)}">{body}'


def _tidy(tag: str, name: str) -> str:
    tag = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    # The family is the page's own: this machine's fonts are not the reader's.
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", _FONT.sub(_font, tag))
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    return re.sub(r"\d+\.\d{3,}", lambda digits: f"{float(digits[0]):.2f}", " ".join(tag.split()))


def _font(found: re.Match[str]) -> str:
    """Return the short form of a font, as some versions of matplotlib write it, without its family."""
    return f"font-size: {found[2]}px" + (f"; font-weight: {found[1]}" if found[1] else "")
