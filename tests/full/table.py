"""The table of `make test-full`: a line for each figure, kept by workload until it is measured again."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.processes import ROOT, Taken

KEPT = ROOT / "build" / "full-size"
PAGE = ROOT / "docs" / "full-size.md"
WORKLOADS = ("mnist", "nsmc", "iris", "diabetes")
HEAD = ("workload", "figure", "measured (95 % interval)", "target", "seconds", "peak, MB")
SEED_HEAD = ("the plain way, in the same run", "came to", "seconds", "peak, MB")
_WORDS = """# At full size

What `make test-full` measured last; it writes this page. Each workload went through its compiled pipeline as
a user runs it (`python -m pipelines.run --workload NAME --set source=...`), and its figures are those of the
answers to rows that were held out. Seconds and peak memory are a whole process's: the pipeline's with all its
steps (the peak is the largest step's), and the plain way's, which has no pipeline around it. A dash under
seconds: the process of the line above.

"""


@dataclass(frozen=True)
class Line:
    """One figure, what was asked of it, and the plain way's beside it where there is one."""

    figure: str
    measured: str
    target: str
    taken: Taken | None = None
    seed: str = ""
    seed_measured: str = ""
    seed_taken: Taken | None = None

    def cells(self, workload: str) -> list[str]:
        """Return the line's cells, in the order of both heads."""
        ours = [workload, self.figure, self.measured, self.target, *_cost(self.taken)]
        theirs = [self.seed, self.seed_measured, *_cost(self.seed_taken)] if self.seed else [""] * 4
        return ours + theirs


@dataclass
class Table:
    """The lines of one workload, when they were measured, and how much the machine had to do besides."""

    workload: str
    measured: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    lines: list[list[str]] = field(default_factory=list)

    def add(self, *lines: Line) -> None:
        """Add lines, and keep them: what was measured is worth showing though a later test fails."""
        self.lines += [line.cells(self.workload) for line in lines]
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{self.workload}.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def kept() -> list[Table]:
    """Return what was measured of each workload, last time."""
    files = [KEPT / f"{workload}.json" for workload in WORKLOADS]
    return [Table(**json.loads(path.read_text(encoding="utf-8"))) for path in files if path.is_file()]


def render(tables: list[Table]) -> str:
    """Return the table in Markdown, and when and on what it was measured."""
    rows = [list(HEAD + SEED_HEAD), ["---"] * len(HEAD + SEED_HEAD)]
    rows += [line for table in tables for line in table.lines]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    times = "; ".join(f"{one.workload} {one.measured} (load {one.load:.1f})" for one in tables)
    return f"{body}\n\nMeasured on {len(os.sched_getaffinity(0))} cores, no GPU: {times}.\n"


def write_page(tables: list[Table]) -> None:
    """Write docs/full-size.md."""
    PAGE.write_text(_WORDS + render(tables), encoding="utf-8")


def interval(found: Any, digits: int = 4) -> str:
    """Return a metric and its interval in words: of a run's result, or an Interval."""
    part = found if isinstance(found, dict) else asdict(found)
    value, low, high = (f"{part[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _cost(taken: Taken | None) -> list[str]:
    return [f"{taken.seconds:.1f}", f"{taken.megabytes:.0f}"] if taken else ["–", "–"]
