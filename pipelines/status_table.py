"""What a person sees of the status: a table for each workload."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.report.text import label, number

from .display import COLOURS


def show(result: dict[str, Any]) -> None:
    """Print the status on standard output."""
    console = Console(highlight=False)
    server = result["server"]
    if server:
        words = f"serving at {server['url']} (pid {server['pid']}, since {moment(server['started'])})"
    else:
        words = f"no model server runs in {result['state']}"
    console.print(words, soft_wrap=True, markup=False)
    if not any(row["champion"] or row["served"] or row["runs"] for row in result["workloads"]):
        names = [row["workload"] for row in result["workloads"]]
        what = f"{names[0]} was never" if names else "nothing was ever"
        console.print(f"{what} run here; registered are {', '.join(result['registered'])}:", soft_wrap=True)
        console.print(f"  {result['run']}", soft_wrap=True, markup=False)
        return
    for row in result["workloads"]:
        console.print(_table(row))
        if row["mend"]:
            console.print(
                f"{row['workload']}: {row['trouble']}; this mends it:", soft_wrap=True, markup=False
            )
            console.print(f"  {row['mend']}", soft_wrap=True, markup=False)


def _table(row: dict[str, Any]) -> Table:
    table = Table(title=row["workload"], title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("endpoint", row["endpoint"] or "nothing answers")
    table.add_row("served", Text(_served(row)))
    for name, words in _champion(row["champion"]):
        table.add_row(name, Text(words))
    for alias in ("previous", "challenger"):
        if row[alias]:
            table.add_row(alias, f"version {row[alias]}")
    table.add_row("agreement", _agreement(row))
    for index, run in enumerate(row["runs"]):
        told = Text(f"{moment(run['ended'])}  ")
        told.append(run["verdict"], style=COLOURS.get(run["verdict"], ""))
        told.append(f"  {run['run']}\n{'; '.join(run['reasons'] or [])}")
        table.add_row("" if index else "last runs", told)
    return table


def _served(row: dict[str, Any]) -> str:
    served = row["served"]
    if not served:
        return "nothing"
    version = f"version {served['version']}" if served["version"] else "a version that is not registered"
    if not served.get("digest"):
        return f"nothing: {served.get('reason')}"
    since = f", loaded {moment(served['loaded_at'])}" if "loaded_at" in served else ", once a server runs"
    trial = ", on trial" if served.get("phase") == "probation" else ""
    return f"{version}, archive {served['digest'][:12]}{since}{trial}"


def _champion(champion: dict[str, Any] | None) -> list[tuple[str, str]]:
    if champion is None:
        return [("champion", "none")]
    by, data, metric = champion["by"], champion["data"], champion["metric"]
    how = f", by {by['kind']}" + (f" of {by['who']}" if by["who"] else "") if by else ""
    since = f", since {moment(champion['since'])}" if champion["since"] else ""
    rows = f"{number(data['rows']['train'])} rows, {number(data['rows']['holdout'])} held out"
    lines = [
        ("champion", f"version {champion['version']}, archive {champion['digest'][:12]}{since}{how}"),
        (
            "data",
            f"{data['source'] or 'source unknown'}, {rows}, fingerprint {str(data['fingerprint'])[:12]}",
        ),
        ("", f"as of {moment(data['as_of'])}, run {champion['run']}"),
    ]
    if metric in champion["metrics"]:
        lines.append((label(metric), span(champion["metrics"][metric])))
    lines.append(("won against", won(champion)))
    return lines


def won(version: dict[str, Any]) -> str:
    """Return in words what the version was judged against, and what came of it."""
    against = version["against"]
    if against is None:
        return "the floors: there was no champion" if version["metrics"] else "unknown"
    difference = against["difference"]
    by = f" by {span(difference, sign='+')}" if difference else ""
    return f"version {against['version']}{by}"


def span(interval: dict[str, float | None], sign: str = "") -> str:
    """Return a value with its interval."""
    value, low, high = (
        "–" if interval[key] is None else f"{interval[key]:{sign}.4g}" for key in ("value", "low", "high")
    )
    return f"{value}   95 % interval {low} to {high}"


def _agreement(row: dict[str, Any]) -> str:
    if row["agree"] is None:
        return str(row["trouble"])
    if row["agree"]:
        return "endpoint and registry agree" + (f"; {row['trouble']}" if row["trouble"] else "")
    return f"[red]endpoint and registry disagree[/red]: {row['trouble']}"


def moment(when: str | None) -> str:
    """Return a time in UTC as people read it, without parts of seconds."""
    return f"{when[:10]} {when[11:19]} UTC" if when and len(when) > 18 else when or "unknown"
