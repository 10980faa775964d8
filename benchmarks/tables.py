"""Measure time and memory of prep-data, train and evaluate on tables of numbers, next to a plain script.

    python -m benchmarks.tables [--rows 20000 200000 2000000] [--wide 100000] [--mixed 500000]
        [--results FILE.json] [--output docs/scale.md]

Each step runs in a process of its own, and so does the script (benchmarks/plain_table.py). For the table of
patients, evaluate compares the challenger with a champion on one measurement. The ratio is that of CPU
seconds, because they depend less on the load of the machine. With --results, the measurements of
earlier commands in that file are in the table, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .processes import ROOT, ProcessResult, run_measured
from .table_data import write_mixed, write_numbers, write_wide

STEPS = ("prep-data", "train", "evaluate")
CHAMPION = "bmi"
WORKLOADS = {"patients": ("diabetes", "progression"), "wide": ("wide", "y"), "mixed": ("mixed", "price")}
"""The workload and the label column of each table."""

WRITERS = {"patients": write_numbers, "wide": write_wide, "mixed": write_mixed}
_CHAMPION_ROWS = 20_000
_TABLE = re.compile(r"(<!-- table -->\n).*(<!-- end of the table -->)", re.S)
REJECTED = 3
"""The exit code of evaluate for a challenger that is not promoted."""


@dataclass(frozen=True)
class Measurement:
    """The results of the steps and of the plain script on one table.

    `load` is the load average of the last minute at the end.
    """

    table: str
    rows: int
    steps: tuple[ProcessResult, ...]
    plain: ProcessResult
    load: float

    @property
    def ratio(self) -> float:
        """The CPU seconds of the steps divided by the CPU seconds of the script."""
        return sum(step.cpu for step in self.steps) / self.plain.cpu


def measure(table: str, source: Path, rows: int, folder: Path, state: Path) -> Measurement:
    """Run the script and the steps on a CSV file."""
    workload, label = WORKLOADS[table]
    champion = ["--champion", CHAMPION] if table == "patients" else []
    plain = run_measured("benchmarks.plain_table", str(source), label, str(folder / "plain"), *champion)
    name, data, model = ["--workload", workload], str(folder / "data"), str(folder / "model")
    options = [*name, "--state", str(state), "--data", data]
    steps = (
        run_measured("components.prep_data", *name, "--set", f"source={source}", "--output", data),
        run_measured("components.train", *options, "--output", model),
        run_measured(
            "components.evaluate",
            *options,
            "--model",
            model,
            "--output",
            str(folder / "evaluation"),
            codes=(0, REJECTED),
        ),
    )
    return Measurement(table, rows, steps, plain, os.getloadavg()[0])


def rows_of_table(measurement: Measurement) -> list[str]:
    """Return the lines of the Markdown table."""
    processes = [*zip(STEPS, measurement.steps, strict=True), ("plain script", measurement.plain)]
    lines = [
        f"| {measurement.table} | {measurement.rows:,} | {name} | {result.seconds:.1f} | {result.cpu:.1f} "
        f"| {measurement.rows / result.cpu:,.0f} | {result.megabytes:.0f} | {result.lines} | |"
        for name, result in processes
    ]
    seconds = sum(step.seconds for step in measurement.steps)
    cpu = sum(step.cpu for step in measurement.steps)
    peak = max(step.megabytes for step in measurement.steps)
    count = sum(step.lines for step in measurement.steps)
    total = f"| {measurement.table} | {measurement.rows:,} | **all steps** | {seconds:.1f} | {cpu:.1f} "
    total += f"| {measurement.rows / cpu:,.0f} | {peak:.0f} | {count} | **{measurement.ratio:.1f}x** |"
    return [*lines, total]


HEADER = (
    "| table | rows | process | seconds | CPU s | rows per CPU s | peak memory, MB | log lines "
    "| CPU s to the script |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def load_note(measurements: Iterable[Measurement]) -> str:
    """Return the sentence that states the load of the machine."""
    loads = ", ".join(f"{measurement.load:.1f}" for measurement in measurements)
    return (
        f"Load of the machine with {os.cpu_count()} cores after each table, the benchmark included: {loads}."
    )


def draw(measurements: Iterable[Measurement], output: Path) -> None:
    """Draw CPU seconds and peak memory over the rows of the table of patients."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.hashsalt": "tables", "font.size": 10}
    patients = [measurement for measurement in measurements if measurement.table == "patients"]
    rows = [measurement.rows for measurement in patients]
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, attribute, title in zip(
        figure.subplots(1, 2), ("cpu", "megabytes"), ("CPU seconds", "peak memory, MB"), strict=True
    ):
        for number, step in enumerate(STEPS):
            axes.plot(rows, [getattr(m.steps[number], attribute) for m in patients], "o-", label=step)
        values = [getattr(m.plain, attribute) for m in patients]
        axes.plot(rows, values, "o:", color="#5b6775", label="script")
        axes.set(title=title, xlabel="rows", xscale="log", yscale="log")
        axes.grid(color="#e3e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left")
    figure.savefig(output, metadata={"Date": None})


def write(measurements: list[Measurement], page: Path) -> None:
    """Replace the table of the page, and the figure next to it."""
    lines = [HEADER, *(line for measurement in measurements for line in rows_of_table(measurement))]
    text, table = page.read_text(encoding="utf-8"), "\n".join([*lines, "", load_note(measurements)])
    page.write_text(_TABLE.sub(rf"\g<1>{table}\n\g<2>", text), encoding="utf-8")
    draw(measurements, page.with_name("scale-tables.svg"))


def read_results(path: Path | None) -> list[Measurement]:
    """Return the measurements in a file; none without a file."""
    if path is None or not path.exists():
        return []
    return [
        Measurement(
            entry["table"],
            entry["rows"],
            tuple(ProcessResult(**step) for step in entry["steps"]),
            ProcessResult(**entry["plain"]),
            entry["load"],
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))
    ]


def merge(measurements: Iterable[Measurement], new: Measurement) -> list[Measurement]:
    """Return the measurements in the order of the page. `new` replaces one of the same table and rows."""
    by_size = {(measurement.table, measurement.rows): measurement for measurement in (*measurements, new)}
    return sorted(by_size.values(), key=lambda result: (list(WORKLOADS).index(result.table), result.rows))


def main() -> None:
    """Measure, print the table, and write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[20_000, 200_000, 500_000, 2_000_000, 20_000_000]
    )
    parser.add_argument("--wide", type=int, nargs="*", default=[100_000])
    parser.add_argument("--mixed", type=int, nargs="*", default=[500_000])
    parser.add_argument("--output", type=Path, help="page whose table is replaced; the figure is next to it")
    parser.add_argument("--results", type=Path, help="JSON file with the measurements")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT / "benchmarks" / "path")
    measurements = read_results(arguments.results)
    print(HEADER)
    with tempfile.TemporaryDirectory(prefix="tables-") as name:
        state, source = Path(name, "state"), Path(name, "table.csv")
        write_numbers(source, _CHAMPION_ROWS)
        settings = ["--set", f"source={source}", "--set", f"features={CHAMPION}"]
        run_measured("pipelines.run", "--workload", "diabetes", "--state", str(state), *settings)
        counts = {"patients": arguments.rows, "wide": arguments.wide, "mixed": arguments.mixed}
        sizes = [(table, rows) for table in WORKLOADS for rows in counts[table]]
        for table, rows in sizes:
            with tempfile.TemporaryDirectory(dir=name) as folder:
                WRITERS[table](source, rows)
                measurement = measure(table, source, rows, Path(folder), state)
            print("\n".join(rows_of_table(measurement)), flush=True)
            measurements = merge(measurements, measurement)
            if arguments.results:
                content = json.dumps([asdict(result) for result in measurements], indent=2)
                arguments.results.write_text(content, encoding="utf-8")
            if arguments.output:
                write(measurements, arguments.output)
        run_measured("serving", "stop", "--state", str(state))


if __name__ == "__main__":
    main()
