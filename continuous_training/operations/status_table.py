"""The status as text: a table for each workload."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.evaluation.column_histogram import ColumnHistogram
from continuous_training.operations.drift_status import DriftSinceChampion
from continuous_training.operations.formatting import (
    VERDICT_COLOURS,
    format_archive,
    format_comparison,
    format_histogram,
    format_interval,
    format_time,
)
from continuous_training.operations.serving_state import Agreement
from continuous_training.operations.status import ChampionStatus, RunSummary, Status, WorkloadStatus
from continuous_training.operations.waiting_status import WaitingStatus
from continuous_training.report.data_check_text import check_lines, class_text, score_text
from continuous_training.report.formatting import label, number

MAX_COLUMNS = 4
"""How many drifted columns the table names. --json and the report of the run contain all."""


def show(status: Status) -> None:
    """Print the status on standard output."""
    console = Console(highlight=False)

    def print_line(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    print_line(_server(status))
    if status.registry_problem:
        print_line(f"the content of the registry is missing here: {status.registry_problem}")
    elif not any(workload.champion or workload.served or workload.runs for workload in status.workloads):
        _print_first_steps(status, print_line)
        return
    for workload in status.workloads:
        console.print(_table(workload))
        if workload.agreement.remedy:
            print_line(f"{workload.name}: {workload.agreement.problem}. To correct this:")
            print_line(f"  {workload.agreement.remedy}")
        if workload.waiting:
            print_line(f"{workload.name}: {_waiting_action(workload.waiting)}:")
            print_line(f"  {workload.waiting.command}")


def _server(status: Status) -> str:
    server = status.server
    if server is None:
        return f"no model server runs in {status.state}"
    if server.pid is None:
        return f"serving on {server.url}"
    return f"serving at {server.url} (pid {server.pid}, since {format_time(server.started)})"


def _print_first_steps(status: Status, print_line: Callable[[str], None]) -> None:
    subject = f"{status.workloads[0].name} was never" if status.workloads else "no workload was ever"
    print_line(f"{subject} run here; registered workloads: {', '.join(status.registered)}. To run one:")
    print_line(f"  {status.run_command}")


def _table(workload: WorkloadStatus) -> Table:
    table = Table(title=workload.name, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("endpoint", workload.endpoint or "does not answer")
    table.add_row("served", Text(_served(workload)))
    for name, text in _champion_rows(workload.champion):
        table.add_row(name, text)
    if workload.data:
        classes = [("classes", class_text(workload.data))] if workload.data.classes else []
        for index, (subject, result) in enumerate([*classes, *check_lines(workload.data)]):
            table.add_row("" if index else "data checks", Text(f"{subject}: {result}"))
    for alias, version in (("previous", workload.previous), ("challenger", workload.challenger)):
        if version:
            table.add_row(alias, f"version {version}")
    if workload.waiting:
        table.add_row("waiting", Text(_waiting(workload.waiting)))
    table.add_row("agreement", _agreement(workload.agreement))
    for index, run in enumerate(workload.runs):
        # pipelines.history prints the reasons of the earlier runs.
        table.add_row("" if index else "last runs", _run(run, with_reasons=not index))
    return table


def _waiting(waiting: WaitingStatus) -> str:
    approval = waiting.approval
    starter = f", started by {approval.starter}" if approval.starter else ""
    end = "could be approved until" if waiting.expired else "can be approved until"
    return (
        f"version {waiting.version} of run {approval.run}{starter}, waits since "
        f"{format_time(approval.since)} and {end} {format_time(approval.until)}"
    )


def _waiting_action(waiting: WaitingStatus) -> str:
    if waiting.expired:
        return f"version {waiting.version} can no longer be approved. To start a new run"
    return f"to approve version {waiting.version}"


def _run(run: RunSummary, with_reasons: bool) -> Text:
    text = Text(f"{run.ended[:16].replace('T', ' ')}  ")
    text.append(run.verdict, style=VERDICT_COLOURS.get(run.verdict, ""))
    text.append(f"  {run.run}")
    if with_reasons:
        text.append(f"\n{'; '.join(run.reasons or ())}")
    return text


def _served(workload: WorkloadStatus) -> str:
    served = workload.served
    if not served:
        return "no version"
    if not served.digest:
        return f"no version: {served.reason}"
    version = f"version {served.version}" if served.version else "a version that is not registered"
    agreement = workload.agreement
    if agreement.problem and workload.champion is None and agreement.agree is None:
        version = "a version"
    # The Services of a cluster do not tell when their servers loaded the version.
    pending = f", but {served.reason}" if served.reason else ", once a server runs"
    suffix = "" if workload.endpoint else pending
    if served.loaded_at:
        suffix = f", loaded {format_time(served.loaded_at)}"
    trial = ", on trial" if served.on_trial else ""
    return f"{version}, archive {served.digest[:12]}{suffix}{trial}"


def _champion_rows(champion: ChampionStatus | None) -> list[tuple[str, Text]]:
    if champion is None:
        return [("champion", Text("none is known"))]
    lineage, data, move = champion.lineage, champion.lineage.data, champion.move
    cause = f", by {move.kind}" + (f" of {move.user}" if move.user else "") if move else ""
    suffix = f", since {format_time(move.time)}" if move and move.time else ""
    source = data.source or "source unknown"
    rows = [
        ("champion", f"version {champion.version}, archive {champion.digest[:12]}{suffix}{cause}"),
        ("", f"trained by run {lineage.run}"),
        ("data", f"{source}, {number(data.train_rows)} rows, {number(data.holdout_rows)} held out"),
        ("", f"as of {format_time(data.as_of)}, fingerprint {str(data.fingerprint)[:12]}"),
    ]
    metric = lineage.metric
    if metric and metric in lineage.metrics:
        rows.append((label(metric), format_interval(lineage.metrics[metric])))
    rows.append(("won against", format_comparison(lineage)))
    if champion.score:
        score = champion.score
        rows.append(("score", score_text(score.metric, score.promoted, score.today)))
    texts = [(name, Text(text)) for name, text in rows]
    if not lineage.archive.intact:
        texts.append(("archive", Text(format_archive(lineage.archive), style="red")))
    return [*texts, ("drift", _drift(champion.drift))]


def _drift(drift: DriftSinceChampion) -> Text:
    """Return the drift of the latest data from the champion's, with the columns that differ most."""
    if drift.newest is None or drift.unknown is not None:
        return Text(str(drift.unknown))
    rows = f"rows of {format_time(drift.newest.when)}"
    if drift.newest.same_data:
        return Text(f"none: the champion was trained and evaluated on the {rows}")
    drifted = [column for column in drift.columns if column.level != "stable"]
    count = len(drift.columns)
    text = Text(f"{rows}: {len(drifted) or 'none'} of {count} column{'' if count == 1 else 's'} moved")
    if drift.not_compared:
        text.append(f"; {len(drift.not_compared)} not compared: their statistics differ in form")
    for column in drifted[:MAX_COLUMNS]:
        _append_column(text, column, drift.histograms.get(column.column))
    if len(drifted) > MAX_COLUMNS:
        text.append(f"\nand {len(drifted) - MAX_COLUMNS} more: --json")
    return text


def _append_column(text: Text, column: ColumnDrift, histogram: ColumnHistogram | None) -> None:
    p = "p < 0.001" if column.p < 0.001 else f"p {column.p:.3f}"
    text.append(f"\n{column.column}  index {column.psi:.2f}, {column.test} {p}  ")
    text.append(column.level, style="red" if column.level == "large" else "yellow")
    if column.old_mean is not None and column.new_mean is not None:
        text.append(f"  mean {number(column.old_mean)}, now {number(column.new_mean)}")
    if histogram and histogram.old:
        largest = max(*histogram.new, *histogram.old)
        then, now = (format_histogram(shares, largest) for shares in (histogram.old, histogram.new))
        text.append(f"\n  champion {then}\n  now      {now}")


def _agreement(agreement: Agreement) -> Text:
    if agreement.agree is None:
        return Text(str(agreement.problem))
    if agreement.agree:
        problem = f"; {agreement.problem}" if agreement.problem else ""
        return Text(f"endpoint and registry agree{problem}")
    return Text.assemble(("endpoint and registry disagree", "red"), f": {agreement.problem}")
