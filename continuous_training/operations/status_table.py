"""What a person sees of the status: a table for each workload."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from continuous_training.operations.formatting import VERDICT_COLOURS, moment, span, stored, won
from continuous_training.report.formatting import label, number

MOST_COLUMNS = 4
"""How many columns of drifting data are named; --json and the run's report have them all."""


def show(result: dict[str, Any]) -> None:
    """Print the status on standard output."""
    console = Console(highlight=False)

    def line(words: str) -> None:
        console.print(words, soft_wrap=True, markup=False)

    server, trouble = result["server"], result["registry"]["trouble"]
    if server and server["pid"] is None:
        line(f"serving on {server['url']}")
    elif server:
        line(f"serving at {server['url']} (pid {server['pid']}, since {moment(server['started'])})")
    else:
        line(f"no model server runs in {result['state']}")
    if trouble:
        line(f"what the registry says is missing here: {trouble}")
    rows = result["workloads"]
    if not trouble and not any(row["champion"] or row["served"] or row["runs"] for row in rows):
        what = f"{rows[0]['workload']} was never" if rows else "nothing was ever"
        line(f"{what} run here; registered are {', '.join(result['registered'])}:")
        line(f"  {result['run']}")
        return
    for row in rows:
        console.print(_table(row))
        if row["mend"]:
            line(f"{row['workload']}: {row['trouble']}; this mends it:")
            line(f"  {row['mend']}")


def _table(row: dict[str, Any]) -> Table:
    table = Table(title=row["workload"], title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("endpoint", row["endpoint"] or "nothing answers")
    table.add_row("served", Text(_served(row)))
    for name, words in _champion(row["champion"]):
        table.add_row(name, words)
    for alias in ("previous", "challenger"):
        if row[alias]:
            table.add_row(alias, f"version {row[alias]}")
    table.add_row("agreement", _agreement(row))
    for index, run in enumerate(row["runs"]):
        told = Text(f"{run['ended'][:16].replace('T', ' ')}  ")
        told.append(run["verdict"], style=VERDICT_COLOURS.get(run["verdict"], ""))
        told.append(f"  {run['run']}")
        if not index:
            # Those of the others: python -m pipelines.history.
            told.append(f"\n{'; '.join(run['reasons'] or [])}")
        table.add_row("" if index else "last runs", told)
    return table


def _served(row: dict[str, Any]) -> str:
    served = row["served"]
    if not served:
        return "nothing"
    if not served.get("digest"):
        return f"nothing: {served.get('reason')}"
    version = f"version {served['version']}" if served["version"] else "a version that is not registered"
    if row["trouble"] and row["champion"] is None and row["agree"] is None:
        version = "a version"
    since = f", loaded {moment(served['loaded_at'])}" if "loaded_at" in served else ", once a server runs"
    trial = ", on trial" if served.get("phase") == "probation" else ""
    return f"{version}, archive {served['digest'][:12]}{since}{trial}"


def _champion(champion: dict[str, Any] | None) -> list[tuple[str, Text]]:
    if champion is None:
        return [("champion", Text("none is known"))]
    by, data, metric, rows = champion["by"], champion["data"], champion["metric"], champion["data"]["rows"]
    how = f", by {by['kind']}" + (f" of {by['who']}" if by["who"] else "") if by else ""
    since = f", since {moment(champion['since'])}" if champion["since"] else ""
    source = data["source"] or "source unknown"
    lines = [
        ("champion", f"version {champion['version']}, archive {champion['digest'][:12]}{since}{how}"),
        ("", f"trained by run {champion['run']}"),
        ("data", f"{source}, {number(rows['train'])} rows, {number(rows['holdout'])} held out"),
        ("", f"as of {moment(data['as_of'])}, fingerprint {str(data['fingerprint'])[:12]}"),
    ]
    if metric in champion["metrics"]:
        lines.append((label(metric), span(champion["metrics"][metric])))
    lines.append(("won against", won(champion)))
    texts = [(name, Text(words)) for name, words in lines]
    if not champion["archive"]["intact"]:
        texts.append(("archive", Text(stored(champion["archive"]), style="red")))
    return [*texts, ("drift", _drift(champion["drift"]))]


def _drift(drift: dict[str, Any]) -> Text:
    """Say how far the newest data is from the champion's, the columns that moved farthest by name."""
    if drift["unknown"]:
        return Text(drift["unknown"])
    seen = f"rows of {moment(drift['when'])}"
    if drift["same_data"]:
        return Text(f"none: {seen} are those that the champion was trained and judged on")
    moved = [one for one in drift["columns"] if one["word"] != "stable"]
    columns, left = len(drift["columns"]), len(drift["not_compared"])
    told = Text(f"{seen}: {len(moved) or 'none'} of {columns} column{'' if columns == 1 else 's'} moved")
    if left:
        told.append(f"; {left} not compared, for want of the same counts on both sides")
    for one in moved[:MOST_COLUMNS]:
        p = "p < 0.001" if one["p"] < 0.001 else f"p {one['p']:.3f}"
        told.append(f"\n{one['column']}  index {one['index']:.2f}, {one['test']} {p}  ")
        told.append(one["word"], style="red" if one["word"] == "large" else "yellow")
        if one["mean_then"] is not None and one["mean_now"] is not None:
            told.append(f"  mean {number(one['mean_then'])}, now {number(one['mean_now'])}")
    if len(moved) > MOST_COLUMNS:
        told.append(f"\nand {len(moved) - MOST_COLUMNS} more: --json")
    return told


def _agreement(row: dict[str, Any]) -> Text:
    if row["agree"] is None:
        return Text(str(row["trouble"]))
    if row["agree"]:
        return Text("endpoint and registry agree" + (f"; {row['trouble']}" if row["trouble"] else ""))
    return Text.assemble(("endpoint and registry disagree", "red"), f": {row['trouble']}")
