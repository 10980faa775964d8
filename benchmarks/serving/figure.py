"""The figure of the results: one bar per server, one column per load, one row per workload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Results


def figure(all_results: Sequence[Results], path: Path) -> None:
    """Draw the request rates as SVG."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "serving", "font.size": 9})
    heights = [0.3 * len(results.rounds) + 0.8 for results in all_results]
    columns = max(len(results.loads) for results in all_results)
    canvas, axes = plt.subplots(
        len(all_results),
        columns,
        figsize=(11, sum(heights)),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for row, results in zip(axes, all_results, strict=True):
        for axis in row[len(results.loads) :]:
            axis.set_visible(False)
        for number, load in enumerate(results.loads):
            _bars(row[number], results, load, with_names=number == 0)
    canvas.patch.set_facecolor("white")
    canvas.tight_layout()
    canvas.savefig(path, metadata={"Date": None})
    plt.close(canvas)


def _bars(axis: Any, results: Results, load: str, with_names: bool) -> None:
    servers = list(results.rounds)
    rates = [results.median_of(server, load, "rate") or 0.0 for server in servers]
    colours = ["#4453c4" if server.startswith("ours") else "#a9afbf" for server in servers]
    bars = axis.barh(range(len(servers)), rates, color=colours)
    axis.bar_label(bars, [f"{rate:,.0f}" if rate else "–" for rate in rates], padding=3, fontsize=8)
    axis.set_yticks(range(len(servers)), servers if with_names else [""] * len(servers))
    axis.set_title(f"{results.archive.name}: {load}, requests/s", fontsize=9)
    axis.set_xticks([])
    axis.margins(x=0.28)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.invert_yaxis()
