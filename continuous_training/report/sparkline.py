"""Small histograms for table cells."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from continuous_training.report.formatting import NOTHING, parameter_text
from continuous_training.report.svg import CHALLENGER

_WIDTH = 110


def sparkline(
    shares: Sequence[float] | None, largest: float | None = None, colour: str = CHALLENGER, name: str = ""
) -> Markup:
    """Draw the shares of the rows as small bars; a dash without shares.

    `largest` is the share of the full height, by default the largest one. `name` is the first part of the
    text alternative.
    """
    if not shares:
        return Markup(NOTHING)
    width, scale = min(_WIDTH / len(shares), 25), 24 / (largest or max(shares) or 1)
    bars = "".join(
        f'<rect x="{index * width:.1f}" y="{25 - scale * share:.1f}" '
        f'width="{max(width - 1, 0.8):.1f}" height="{scale * share + 1:.1f}"/>'
        for index, share in enumerate(shares)
    )
    percent = parameter_text([round(100 * share, 1) for share in shares])
    alternative = f"{name} shares of the rows from left to right in percent: {percent}".strip()
    attributes = f'viewBox="0 0 {_WIDTH} 26" role="img" fill="{colour}"'
    return Markup('<svg class="spark" {} aria-label="{}">{}</svg>').format(
        Markup(attributes), alternative, Markup(bars)
    )
