"""The Markdown page of the results."""

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
from .contenders import OURS, OURS_MULTIPLE_WORKERS, REFERENCE
from .figure import figure
from .measuring import LOADS, Measurement

_HEAD = "| server | c1 | c8 | c32 | b64 | p50 / p99 ms at c1 | at c32 | at b64 | start s | memory MB |"


@dataclass
class Results:
    """Measurements per server, reasons for missing ones, and the speed of the model without a server."""

    archive: Archive
    count: int
    seconds: float
    limits: list[dict[str, float]] = field(default_factory=list)
    rounds: dict[str, list[Measurement]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def limit(self, quantity: str) -> float:
        """Return the median rate of the model without a server, in items per second."""
        return median(limits[quantity] for limits in self.limits)

    def median_of(self, server: str, load: str, quantity: str) -> float | None:
        """Return the median over the rounds of one quantity of one load, or None if it was not measured."""
        rounds = self.rounds.get(server, [])
        values = [measured.loads[load][quantity] for measured in rounds if load in measured.loads]
        return median(values) if values else None

    def speedup(self, server: str, other: str, load: str) -> float | None:
        """Return the request rate of a server divided by that of another server."""
        rate, other_rate = self.median_of(server, load, "rate"), self.median_of(other, load, "rate")
        return rate / other_rate if rate and other_rate else None

    @property
    def loads(self) -> list[str]:
        """The loads that were applied to at least one server."""
        return [
            load for load, _ in LOADS if any(self.median_of(server, load, "rate") for server in self.rounds)
        ]


def write(all_results: Sequence[Results], output: Path) -> None:
    """Write the page to `output`, and the figure to the same directory as SVG."""
    picture = output.with_suffix(".svg")
    figure(all_results, picture)
    output.write_text(_page(all_results, picture.name), encoding="utf-8")


_INTRODUCTION = """\
# Comparison with other model servers

`make bench-serving` wrote this page: {cores} cores ({machine}), Python {python}, the load generator (wrk) on
the same cores, median of {rounds} interleaved rounds of {seconds:g} s per load.

Rates are multiples of the rate of *{reference}* in the same column, which is in brackets. c1, c8 and c32:
requests with one item at 1, 8 and 32 connections. b64: requests with {batch} items at 4 connections. Memory
is the sum over all processes of a server, with shared pages counted once.

*{reference}* is the reference implementation, a typical first implementation of a server:
{reference_servers}. All other servers use the archive's own
handler, and ONNX Runtime and FAISS use one thread in each process unless the name of the server states
otherwise, so they differ only in the server. Before the load, the responses of each server were equal to the
model's own responses (for the reference with another model: equal in number).

![Requests per second by server and load]({figure})
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

The model without a server, in a loop in one process: {json:,.0f} single requests per second from JSON to
JSON; in batches of {batch}, {json_batch:,.0f} items per second from JSON to JSON and {tensors:,.0f} as
tensors.{share}
"""


def _page(all_results: Sequence[Results], picture: str) -> str:
    first = all_results[0]
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
    paragraphs = [fill(paragraph, 110, break_on_hyphens=False) for paragraph in introduction.split("\n\n")]
    return "\n\n".join(paragraphs) + "\n" + "".join(map(_section, all_results))


def _section(results: Results) -> str:
    archive = results.archive
    ruler = "|" + "---|" * (_HEAD.count("|") - 1)
    text = _SECTION.format(
        name=archive.name,
        version=archive.version,
        size=archive.path.stat().st_size / 1e6,
        table="\n".join([_HEAD, ruler, *(_row(results, server) for server in results.rounds)]),
        goals=_comparisons(results),
        json=results.limit("json"),
        json_batch=results.limit("json_batch"),
        tensors=results.limit("batch"),
        batch=BATCH,
        share=_fractions(results),
    )
    missing = [f"- {name}: {' '.join(reason.split())[:300]}" for name, reason in results.missing.items()]
    return text + ("\n".join(["\nNot measured:\n", *missing, ""]) if missing else "")


def _comparisons(results: Results) -> str:
    """Compare our server with the reference and with the fastest other server."""
    return "\n\n".join(fill(_comparison(results, server), 110) for server in _our_servers(results))


def _our_servers(results: Results) -> list[str]:
    return [server for server in (OURS, OURS_MULTIPLE_WORKERS) if server in results.rounds]


def _comparison(results: Results, our_server: str) -> str:
    statements = []
    for load in ("c32", "c1"):
        if speedup := results.speedup(our_server, REFERENCE, load):
            statements.append(f"{speedup:.1f} times the reference at {load}")
    other_servers = [name for name in results.rounds if not name.startswith("ours") and name != REFERENCE]
    rated = [(results.median_of(name, "c32", "rate") or 0.0, name) for name in other_servers]
    if rated and (speedup := results.speedup(our_server, max(rated)[1], "c32")):
        statements.append(f"{speedup:.1f} times the fastest other server at c32 ({max(rated)[1]})")
    if p99 := results.median_of(our_server, "c32", "p99"):
        statements.append(f"p99 {p99:.1f} ms at c32")
    return f"*{our_server}*: {', '.join(statements)}."


def _fractions(results: Results) -> str:
    fractions = []
    for server in results.rounds:
        rate = results.median_of(server, "b64", "rate")
        limit = results.limit(
            "json_batch" if "JSON" in server or server in _our_servers(results) else "batch"
        )
        if server.startswith("ours") and rate and limit:
            fractions.append(f"{BATCH * rate / limit:.0%} ({server})")
    return (
        f"\nRequests with {BATCH} items reach this share of these rates: {', '.join(fractions)}."
        if fractions
        else ""
    )


def _row(results: Results, server: str) -> str:
    cells = []
    for load, _ in LOADS:
        rate, speedup = results.median_of(server, load, "rate"), results.speedup(server, REFERENCE, load)
        if rate is None or speedup is None:
            cells.append("–")
        else:
            cells.append(f"1.0 ({rate:,.0f}/s)" if server == REFERENCE else f"{speedup:.1f}")
    for load in ("c1", "c32", "b64"):
        p50, p99 = results.median_of(server, load, "p50"), results.median_of(server, load, "p99")
        cells.append("–" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}")
    rounds = results.rounds[server]
    cells += [f"{median(r.start for r in rounds):.1f}", f"{median(r.memory for r in rounds):.0f}"]
    return f"| {server} | {' | '.join(cells)} |"
