"""The output of a run: its progress on standard error, and the table of its result."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from continuous_training.artifacts.measurements import interval_label
from continuous_training.core.progress import StepEvent, StepListener
from continuous_training.operations.formatting import VERDICT_COLOURS
from continuous_training.serving.process.daemon import PORT_TAKEN
from pipelines.run_result import RunResult


@contextmanager
def progress(title: str, *, redirect: bool = True) -> Iterator[StepListener]:
    """Yield a listener that shows the messages of steps on standard error, live in a terminal.

    With `redirect`, rich replaces `sys.stdout` and `sys.stderr`, so that other output appears above the live
    line.
    """
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    console.print(title, style="bold")
    if console.is_terminal:
        spinner = Spinner("dots", "starting", style="status.spinner")
        with Live(
            spinner,
            console=console,
            refresh_per_second=12.5,
            transient=True,
            redirect_stdout=redirect,
            redirect_stderr=redirect,
        ):
            yield _live(console, spinner)
    else:
        yield _lines(console)


def _lines(console: Console) -> StepListener:
    """Return a listener that prints a line for each event, with the seconds since the start of the run."""
    started = time.perf_counter()

    def listen(step: str, event: StepEvent, message: str) -> None:
        if event != "done":
            line = f"[{time.perf_counter() - started:5.1f} s] {step}: {message or event}"
            console.print(line, markup=False)

    return listen


def _live(console: Console, spinner: Spinner) -> StepListener:
    """Return a listener that updates one line, and prints a line for each finished step."""
    started, last = time.perf_counter(), ""

    def truncate(text: str) -> Text:
        line = Text(text, no_wrap=True, overflow="ellipsis")
        line.truncate(console.width - 4, overflow="ellipsis")
        return line

    def listen(step: str, event: StepEvent, message: str) -> None:
        nonlocal started, last
        if event == "starts":
            started, last = time.perf_counter(), ""
        elif event == "says":
            last = message
            if PORT_TAKEN in message:
                # The next message replaces the live line, so this message is also printed.
                console.print(truncate(message), style="yellow")
        else:
            mark, style = ("✓", "green") if event == "done" else ("✗", "red")
            seconds = time.perf_counter() - started
            console.print(Text(f"{mark} ", style) + truncate(f"{step:<15} {seconds:5.1f} s   {last}"))
        spinner.update(text=truncate(f"{step:<15} {last}"))

    return listen


def show(result: RunResult) -> None:
    """Print the table of a finished run on standard output."""
    console = Console(highlight=False)
    colour = VERDICT_COLOURS.get(result.verdict, "white")
    table = Table(title=f"{result.workload}  {result.run}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("verdict", f"[{colour}]{result.verdict}[/{colour}]")
    for reason in result.reasons:
        table.add_row("", _escape_markup(reason))
    for name, interval in result.metrics.items():
        low, high = _number(interval.low), _number(interval.high)
        table.add_row(name, f"{_number(interval.value)}   {interval_label()} {low} to {high}")
    if result.version:
        table.add_row("version", f"{result.version}   archive {str(result.digest)[:12]}")
    if result.page is not None:
        table.add_row("page", result.page)
    unknown = "no version is served" if result.page is None else "see the run"
    table.add_row("endpoint", result.endpoint or unknown)
    table.add_row("seconds", "   ".join(f"{step} {value:.1f}" for step, value in result.seconds.items()))
    table.add_row("report", os.path.relpath(result.report) if result.report else "none")
    console.print(table)
    if result.approve:
        # A line of its own, which a terminal does not cut: the command can be copied.
        console.print(f"To approve the version:\n  {result.approve}", soft_wrap=True, markup=False)


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"


def _escape_markup(text: str) -> str:
    return text.replace("[", r"\[")
