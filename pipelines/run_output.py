"""What a person sees of a run: progress while it goes on, and the table at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from continuous_training.core.progress import StepEvent, StepListener
from continuous_training.operations.formatting import VERDICT_COLOURS
from continuous_training.serving.process.daemon import PORT_TAKEN


@contextmanager
def progress(title: str) -> Iterator[StepListener]:
    """Yield a listener that shows each step's words on standard error, as lines where it is no terminal."""
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    console.print(title, style="bold")
    if console.is_terminal:
        with console.status("starting") as status:
            yield _live(console, status)
    else:
        yield _lines(console)


def _lines(console: Console) -> StepListener:
    """Return a listener that prints a line for each word, with the time since the run's start."""
    began = time.perf_counter()

    def listen(step: str, event: StepEvent, words: str) -> None:
        if event != "done":
            line = f"[{time.perf_counter() - began:5.1f} s] {step}: {words or event}"
            console.print(line, markup=False)

    return listen


def _live(console: Console, status: Status) -> StepListener:
    """Return a listener that keeps one line moving, and leaves one behind for each finished step."""
    began, last = time.perf_counter(), ""

    def fitting(text: str) -> Text:
        line = Text(text, no_wrap=True, overflow="ellipsis")
        line.truncate(console.width - 4, overflow="ellipsis")
        return line

    def listen(step: str, event: StepEvent, words: str) -> None:
        nonlocal began, last
        if event == "starts":
            began, last = time.perf_counter(), ""
        elif event == "says":
            last = words
            if PORT_TAKEN in words:
                # The line that moves would be gone before anybody had read it.
                console.print(fitting(words), style="yellow")
        else:
            mark, style = ("✓", "green") if event == "done" else ("✗", "red")
            seconds = time.perf_counter() - began
            console.print(Text(f"{mark} ", style) + fitting(f"{step:<15} {seconds:5.1f} s   {last}"))
        status.update(fitting(f"{step:<15} {last}"))

    return listen


def show(result: dict[str, Any]) -> None:
    """Print the table of a finished run on standard output."""
    console = Console(highlight=False)
    colour = VERDICT_COLOURS.get(result["verdict"], "white")
    table = Table(title=f"{result['workload']}  {result['run']}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("verdict", f"[{colour}]{result['verdict']}[/{colour}]")
    for reason in result["reasons"]:
        table.add_row("", _plain(reason))
    for name, interval in result["metrics"].items():
        low, high = _number(interval["low"]), _number(interval["high"])
        table.add_row(name, f"{_number(interval['value'])}   95 % interval {low} to {high}")
    if result["version"]:
        table.add_row("version", f"{result['version']}   archive {str(result['digest'])[:12]}")
    if "page" in result:
        table.add_row("page", result["page"])
    unknown = "see the run" if "page" in result else "nothing is served"
    table.add_row("endpoint", result["endpoint"] or unknown)
    seconds = "   ".join(f"{step} {value:.1f}" for step, value in result["seconds"].items())
    table.add_row("seconds", seconds)
    table.add_row("report", os.path.relpath(result["report"]) if result["report"] else "none")
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
