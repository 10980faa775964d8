"""What a person sees of a run: progress while it goes on, and the table at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from .events import Listener

COLOURS = {"promoted": "green", "unchanged": "cyan", "rejected": "yellow", "failed": "red"}


@contextmanager
def progress(title: str) -> Iterator[Listener]:
    """Yield a listener that shows each step's words on standard error, as lines where it is no terminal."""
    console = Console(file=sys.stderr, highlight=False)
    began = time.perf_counter()
    console.print(f"[bold]{title}[/bold]")
    if not console.is_terminal:

        def plain(step: str, word: str) -> None:
            line = f"[{time.perf_counter() - began:5.1f} s] {step}: {word or 'starts'}"
            console.print(line, markup=False, soft_wrap=True)

        yield plain
        return
    last = ""
    with console.status("starting") as status:

        def live(step: str, word: str) -> None:
            nonlocal last
            if last and step != last:
                console.print(f"[green]✓[/green] {last}")
            last = step
            status.update(f"{step:<15} [dim]{word.replace('[', '(').replace(']', ')')}[/dim]")

        yield live


def show(result: dict[str, Any]) -> None:
    """Print the table of a finished run on standard output."""
    console = Console(highlight=False)
    colour = COLOURS.get(result["verdict"], "white")
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
    table.add_row("endpoint", result["endpoint"] or "nothing is served")
    seconds = "   ".join(f"{step} {value:.1f}" for step, value in result["seconds"].items())
    table.add_row("seconds", seconds)
    table.add_row("report", os.path.relpath(result["report"]) if result["report"] else "none")
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
