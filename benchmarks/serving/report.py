"""The page and the figure that the measurements end in."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from serving.archive import Archive

from .bodies import BATCH
from .contenders import REFERENCE
from .measuring import LOADS, Measured

_HEAD = "| server | c1 | c8 | c32 | b64 | p50 / p99 ms at c1 | at c32 | at b64 | start s | memory MB |"


@dataclass
class Results:
    """What was measured: rounds by server, who could not be and why, and the model's own limits."""

    archive: Archive
    count: int
    seconds: float
    limits: list[dict[str, float]] = field(default_factory=list)
    rounds: dict[str, list[Measured]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def limit(self, what: str) -> float:
        """Return the median over the rounds of what the model does alone."""
        return median(found[what] for found in self.limits)

    def of(self, server: str, load: str, what: str) -> float | None:
        """Return the median over the rounds of one figure of one load; None where there is none."""
        found = [measured.loads[load][what] for measured in self.rounds[server] if load in measured.loads]
        return median(found) if found else None


def write(results: Results, output: Path) -> None:
    """Write the page to `output`, and its figure beside it as SVG."""
    figure = output.with_suffix(".svg")
    _figure(results, figure)
    output.write_text(_page(results, figure.name), encoding="utf-8")


_INTRODUCTION = """\
# The server beside others

`make bench-serving` wrote this page: {name} {version} ({size:.2f} MB), {cores} cores ({machine}),
Python {python}, the load generator (wrk) on the same cores, median of {rounds} interleaved rounds of
{seconds:g} s a load.

Every server answers with the archive's own handler, ONNX Runtime and FAISS with one thread in each process:
what differs is the server alone. Before the load, each one's answers were equal to the model's own. Rates are
multiples of *{reference}* in the same column, whose own are in brackets; c1, c8, c32: requests of one thing
at that many connections; b64: requests of {batch} things at 4 connections.

![Requests a second by server and load]({figure})
"""

_LIMITS = """
The model alone, in a loop in one process without HTTP: {json:,.0f} single requests a second from JSON to
JSON, and {tensors:,.0f} things a second as tensors in batches of {batch}.{share}
"""


def _page(results: Results, figure: str) -> str:
    archive = results.archive
    introduction = _INTRODUCTION.format(
        name=archive.name,
        version=archive.version,
        size=archive.path.stat().st_size / 1e6,
        cores=len(os.sched_getaffinity(0)),
        machine=platform.machine(),
        python=platform.python_version(),
        rounds=results.count,
        seconds=results.seconds,
        reference=REFERENCE,
        batch=BATCH,
        figure=figure,
    )
    ruler = "|" + "---|" * (_HEAD.count("|") - 1)
    table = "\n".join([_HEAD, ruler, *(_row(results, server) for server in results.rounds)])
    limits = _LIMITS.format(
        json=results.limit("json"), tensors=results.limit("batch"), batch=BATCH, share=_share(results)
    )
    missing = [f"- {name}: {' '.join(why.split())[:300]}" for name, why in results.missing.items()]
    last = "\n".join(["\nNot measured:\n", *missing, ""]) if missing else ""
    return f"{introduction}\n{table}\n{limits}{last}"


def _share(results: Results) -> str:
    shares = []
    for server in results.rounds:
        rate = results.of(server, "b64", "rate")
        if server.startswith("ours") and rate:
            shares.append(f"{BATCH * rate / results.limit('batch'):.0%} ({server})")
    return f"\nOf the latter, requests of {BATCH} reach {' and '.join(shares)}." if shares else ""


def _row(results: Results, server: str) -> str:
    cells = []
    for load, _ in LOADS:
        rate, reference = results.of(server, load, "rate"), results.of(REFERENCE, load, "rate")
        if rate is None or reference is None:
            cells.append("–")
        elif server == REFERENCE:
            cells.append(f"1.0 ({rate:,.0f}/s)")
        else:
            cells.append(f"{rate / reference:.1f}")
    for load in ("c1", "c32", "b64"):
        p50, p99 = results.of(server, load, "p50"), results.of(server, load, "p99")
        cells.append("–" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}")
    rounds = results.rounds[server]
    cells += [f"{median(r.start for r in rounds):.1f}", f"{median(r.memory for r in rounds):.0f}"]
    return f"| {server} | {' | '.join(cells)} |"


def _figure(results: Results, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "serving", "font.size": 9})
    servers = list(results.rounds)
    loads = [load for load, _ in LOADS if any(results.of(server, load, "rate") for server in servers)]
    figure, axes = plt.subplots(
        1, len(loads), figsize=(11, 0.36 * len(servers) + 1.1), sharey=True, squeeze=False
    )
    for axis, load in zip(axes[0], loads, strict=True):
        rates = [results.of(server, load, "rate") or 0.0 for server in servers]
        colours = ["#4453c4" if server.startswith("ours") else "#a9afbf" for server in servers]
        bars = axis.barh(range(len(servers)), rates, color=colours)
        axis.bar_label(bars, [f"{rate:,.0f}" if rate else "–" for rate in rates], padding=3, fontsize=8)
        axis.set_yticks(range(len(servers)), servers)
        axis.set_title(f"{load}, requests/s", fontsize=9)
        axis.set_xticks([])
        axis.margins(x=0.28)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    axes[0][0].invert_yaxis()
    figure.patch.set_facecolor("white")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
