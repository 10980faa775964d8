"""The table of `make test-full`: one line per measured value, stored by workload."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.processes import ROOT, ProcessResult

STORED_TABLES = ROOT / "build" / "full-size"
PAGE = ROOT / "docs" / "full-size.md"
WORKLOADS = ("mnist", "nsmc", "iris", "diabetes")
HEAD = ("workload", "figure", "measured (95 % interval)", "target", "seconds", "peak, MB")
REFERENCE_HEAD = ("reference implementation, in the same run", "measured", "seconds", "peak, MB")
_INTRODUCTION = """# At full size

This page is written by `make test-full` and contains its latest results. Each workload went through its
compiled pipeline as a user runs it (`python -m pipelines.run --workload NAME --set source=...`). The
metrics are computed from the responses to held-out rows. Seconds and peak memory are measured for a whole
process: the pipeline with all steps (the peak is that of the largest step), and the reference
implementation, a short script with a standard method of scikit-learn or FAISS and without a pipeline. A
dash under seconds means: the same process as in the line above.

"""


@dataclass(frozen=True)
class Line:
    """One measured value, its target, and the value of the reference implementation, if any."""

    figure: str
    measured: str
    target: str
    process: ProcessResult | None = None
    reference: str = ""
    reference_measured: str = ""
    reference_process: ProcessResult | None = None

    def cells(self, workload: str) -> list[str]:
        """Return the line's cells, in the order of both heads."""
        pipeline_cells = [workload, self.figure, self.measured, self.target, *_cost(self.process)]
        reference_cells = (
            [self.reference, self.reference_measured, *_cost(self.reference_process)]
            if self.reference
            else [""] * 4
        )
        return pipeline_cells + reference_cells


@dataclass
class Table:
    """The lines of one workload, the time of the measurement, and the load of the machine."""

    workload: str
    measured: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    lines: list[list[str]] = field(default_factory=list)

    def add(self, *lines: Line) -> None:
        """Add lines, and store them, so that they are shown even if a later test fails."""
        self.lines += [line.cells(self.workload) for line in lines]
        STORED_TABLES.mkdir(parents=True, exist_ok=True)
        (STORED_TABLES / f"{self.workload}.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def stored_tables() -> list[Table]:
    """Return the latest stored table of each workload."""
    files = [STORED_TABLES / f"{workload}.json" for workload in WORKLOADS]
    return [Table(**json.loads(path.read_text(encoding="utf-8"))) for path in files if path.is_file()]


def render(tables: list[Table]) -> str:
    """Return the table in Markdown, with time and machine of the measurement."""
    rows = [list(HEAD + REFERENCE_HEAD), ["---"] * len(HEAD + REFERENCE_HEAD)]
    rows += [line for table in tables for line in table.lines]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    measurements = "; ".join(f"{table.workload} {table.measured} (load {table.load:.1f})" for table in tables)
    return f"{body}\n\nMeasured on {len(os.sched_getaffinity(0))} cores, no GPU: {measurements}.\n"


def write_page(tables: list[Table]) -> None:
    """Write docs/full-size.md."""
    PAGE.write_text(_INTRODUCTION + render(tables), encoding="utf-8")


def interval(metric: Any, digits: int = 4) -> str:
    """Format a metric and its interval: a dict of a run's result, or an Interval."""
    fields = metric if isinstance(metric, dict) else asdict(metric)
    value, low, high = (f"{fields[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _cost(process: ProcessResult | None) -> list[str]:
    return [f"{process.seconds:.1f}", f"{process.megabytes:.0f}"] if process else ["–", "–"]
