"""Times, sizes, intervals and archives as people read them."""

from __future__ import annotations

from typing import Any

VERDICT_COLOURS = {"promoted": "green", "unchanged": "cyan", "rejected": "yellow", "failed": "red"}
"""The colour of each verdict in a terminal."""


def moment(when: str | None) -> str:
    """Return a time in UTC, without parts of seconds."""
    return f"{when[:10]} {when[11:19]} UTC" if when and len(when) > 18 else when or "unknown"


def size(count: int) -> str:
    """Return a number of bytes."""
    for limit, scale, unit in ((1e3, 1e0, "B"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if count < limit:
            return f"{count / scale:.{0 if unit == 'B' else 1}f} {unit}"
    return f"{count / 1e9:.1f} GB"


def span(interval: dict[str, float | None], sign: str = "") -> str:
    """Return a value with its 95 % interval; `sign` is "+" for a difference."""
    value, low, high = (
        "–" if interval[key] is None else f"{interval[key]:{sign}.4g}" for key in ("value", "low", "high")
    )
    return f"{value} (95 % interval {low} to {high})"


def won(version: dict[str, Any]) -> str:
    """Return what a version (of `origin`) was judged against, and what came of it."""
    against = version["against"]
    if against is None:
        return "the floors: there was no champion" if version["metrics"] else "unknown"
    difference = against["difference"]
    return f"version {against['version']}" + (f" by {span(difference, sign='+')}" if difference else "")


def stored(archive: dict[str, Any]) -> str:
    """Return where an archive (of `origin`) is, and whether it is what was registered."""
    key, pruned = archive["key"], archive.get("pruned")
    if archive["bytes"] is None:
        return f"{key}, removed by pipelines.prune, {moment(pruned)}" if pruned else f"{key}, missing"
    if archive["intact"]:
        return f"{key}, {size(archive['bytes'])}, intact"
    return f"{key}, NOT what was registered: {archive['trouble'] or 'its sha256 is another one'}"
