"""The page that the measurements end in."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from textwrap import fill

from continuous_training.artifacts.archive_writer import Archive

from .bodies import BATCH
from .contenders import OURS, OURS_TOGETHER, REFERENCE
from .figure import figure
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
        rounds = self.rounds.get(server, [])
        found = [measured.loads[load][what] for measured in rounds if load in measured.loads]
        return median(found) if found else None

    def times(self, server: str, other: str, load: str) -> float | None:
        """Return how many times as many requests a server answers as another one."""
        rate, of = self.of(server, load, "rate"), self.of(other, load, "rate")
        return rate / of if rate and of else None

    @property
    def loads(self) -> list[str]:
        """The loads that any server was under."""
        return [load for load, _ in LOADS if any(self.of(server, load, "rate") for server in self.rounds)]


def write(found: Sequence[Results], output: Path) -> None:
    """Write the page to `output`, and its figure beside it as SVG."""
    picture = output.with_suffix(".svg")
    figure(found, picture)
    output.write_text(_page(found, picture.name), encoding="utf-8")


_INTRODUCTION = """\
# The server beside others

`make bench-serving` wrote this page: {cores} cores ({machine}), Python {python}, the load generator (wrk) on
the same cores, median of {rounds} interleaved rounds of {seconds:g} s a load.

Rates are multiples of *{reference}* in the same column, whose own are in brackets; c1, c8, c32: requests of
one thing at that many connections; b64: requests of {batch} things at 4 connections. Memory is that of all of
a server's processes, pages that they share counted once.

*{reference}* is the reference implementation, a server as most people write it first:
{reference_servers}. Every other server answers with the archive's own
handler, ONNX Runtime and FAISS with one thread in each process unless its name says otherwise: what differs
among them is the server alone. Before the load, each one's answers were equal to the model's own (those of
another model: as many).

![Requests a second by server and load]({figure})
"""

_REFERENCE_SERVERS = (
    "for mnist Flask's own server, ONNX Runtime with its default threads and a flat FAISS index, for nsmc "
    "scikit-learn's CountVectorizer of 100,000 words and naive Bayes from a joblib file"
)

_SECTION = """
## {name}

{name} {version}, {size:.1f} MB, trained with its default parameters.

{table}

{goals}

The model alone, in a loop in one process without HTTP: {json:,.0f} single requests a second from JSON to
JSON; in batches of {batch}, {json_batch:,.0f} things a second from JSON to JSON and {tensors:,.0f} as
tensors.{share}
"""


def _page(found: Sequence[Results], picture: str) -> str:
    first = found[0]
    introduction = _INTRODUCTION.format(
        cores=len(os.sched_getaffinity(0)),
        machine=platform.machine(),
        python=platform.python_version(),
        rounds=first.count,
        seconds=first.seconds,
        reference=REFERENCE,
        batch=BATCH,
        figure=picture,
        reference_servers=_REFERENCE_SERVERS,
    )
    paragraphs = [fill(paragraph, 110) for paragraph in introduction.split("\n\n")]
    return "\n\n".join(paragraphs) + "\n" + "".join(map(_section, found))


def _section(results: Results) -> str:
    archive = results.archive
    ruler = "|" + "---|" * (_HEAD.count("|") - 1)
    text = _SECTION.format(
        name=archive.name,
        version=archive.version,
        size=archive.path.stat().st_size / 1e6,
        table="\n".join([_HEAD, ruler, *(_row(results, server) for server in results.rounds)]),
        goals=_goals(results),
        json=results.limit("json"),
        json_batch=results.limit("json_batch"),
        tensors=results.limit("batch"),
        batch=BATCH,
        share=_share(results),
    )
    missing = [f"- {name}: {' '.join(why.split())[:300]}" for name, why in results.missing.items()]
    return text + ("\n".join(["\nNot measured:\n", *missing, ""]) if missing else "")


def _goals(results: Results) -> str:
    """Say how ours does beside the reference and beside the best of the others."""
    return "\n\n".join(fill(_goal(results, server), 110) for server in _ours(results))


def _ours(results: Results) -> list[str]:
    return [server for server in (OURS, OURS_TOGETHER) if server in results.rounds]


def _goal(results: Results, ours: str) -> str:
    said = []
    for load in ("c32", "c1"):
        if times := results.times(ours, REFERENCE, load):
            said.append(f"{times:.1f} times the reference at {load}")
    others = [name for name in results.rounds if not name.startswith("ours") and name != REFERENCE]
    rated = [(results.of(name, "c32", "rate") or 0.0, name) for name in others]
    if rated and (times := results.times(ours, max(rated)[1], "c32")):
        said.append(f"{times:.1f} times the best other server there ({max(rated)[1]})")
    if p99 := results.of(ours, "c32", "p99"):
        said.append(f"p99 {p99:.1f} ms at c32")
    return f"*{ours}*: {', '.join(said)}."


def _share(results: Results) -> str:
    shares = []
    for server in results.rounds:
        rate = results.of(server, "b64", "rate")
        limit = results.limit("json_batch" if "JSON" in server or server in _ours(results) else "batch")
        if server.startswith("ours") and rate and limit:
            shares.append(f"{BATCH * rate / limit:.0%} ({server})")
    return f"\nOf these, requests of {BATCH} reach {', '.join(shares)}." if shares else ""


def _row(results: Results, server: str) -> str:
    cells = []
    for load, _ in LOADS:
        rate, times = results.of(server, load, "rate"), results.times(server, REFERENCE, load)
        if rate is None or times is None:
            cells.append("–")
        else:
            cells.append(f"1.0 ({rate:,.0f}/s)" if server == REFERENCE else f"{times:.1f}")
    for load in ("c1", "c32", "b64"):
        p50, p99 = results.of(server, load, "p50"), results.of(server, load, "p99")
        cells.append("–" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}")
    rounds = results.rounds[server]
    cells += [f"{median(r.start for r in rounds):.1f}", f"{median(r.memory for r in rounds):.0f}"]
    return f"| {server} | {' | '.join(cells)} |"
