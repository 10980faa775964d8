"""Times, sizes, intervals and archives as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from continuous_training.artifacts.measurements import METRIC_CONFIDENCE, Interval, interval_label

if TYPE_CHECKING:
    # Only for annotations: without this import, a command that formats a time starts faster.
    from continuous_training.operations.lineage import Lineage, StoredArchive

VERDICT_COLOURS = {
    "promoted": "green",
    "unchanged": "cyan",
    "rejected": "yellow",
    "waiting": "magenta",
    "reverted": "red",
    "failed": "red",
}
"""The colour of each verdict in a terminal."""


def format_time(time: str | None) -> str:
    """Return an ISO 8601 time in UTC as text, without fractions of a second."""
    return f"{time[:10]} {time[11:19]} UTC" if time and len(time) > 18 else time or "unknown"


def format_size(count: int) -> str:
    """Return a number of bytes as text."""
    for limit, scale, unit in ((1e3, 1e0, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if count < limit:
            return f"{count / scale:.{0 if unit == 'B' else 1}f} {unit}"
    return f"{count / 1e9:.1f} GB"


def format_interval(interval: Interval, sign: str = "", confidence: float = METRIC_CONFIDENCE) -> str:
    """Return a value with its interval. `sign` is "+" for a difference."""
    value, low, high = (
        f"{number:{sign}.4g}" if math.isfinite(number) else "–"
        for number in (interval.value, interval.low, interval.high)
    )
    return f"{value} ({interval_label(confidence)} {low} to {high})"


def format_histogram(shares: Sequence[float], largest: float) -> str:
    """Return the shares of the rows as bars of block characters; `largest` has the full height."""
    blocks = " ▁▂▃▄▅▆▇█"
    return "".join(blocks[math.ceil(8 * share / largest)] if share > 0 else " " for share in shares)


def format_comparison(lineage: Lineage) -> str:
    """Return the champion that a version was compared with, and the improvement."""
    defeated = lineage.defeated
    if defeated is None:
        return "the floors: there was no champion" if lineage.metrics else "unknown"
    if defeated.difference is None:
        return f"version {defeated.version}"
    improvement = format_interval(defeated.difference, "+", defeated.confidence)
    return f"version {defeated.version} by {improvement}"


def format_archive(archive: StoredArchive) -> str:
    """Return the key of an archive, its size, and whether it has the registered digest."""
    if archive.size is None:
        if archive.pruned:
            return f"{archive.key}, removed by pipelines.prune, {format_time(archive.pruned)}"
        return f"{archive.key}, missing"
    if archive.intact:
        return f"{archive.key}, {format_size(archive.size)}, intact"
    return f"{archive.key}, NOT the registered archive: {archive.problem or 'its sha256 differs'}"
