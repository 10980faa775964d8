"""The table of the bad-day suite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .recovery import Counts

PAGE = Path(__file__).parents[2] / "docs" / "bad-day.md"
_HEAD = """\
# Bad day

This page is written by `make test-bad-day`. All cases use one state directory, which is kept. A case

- damages all files of one type, or one value in the database of the registry. Files are truncated and
  emptied as by a power cut, which also ends the model server (SIGKILL); or
- kills a run at a random moment of one of its phases (SIGKILL): all of its processes, those and the model
  server, or only the process of the step; or
- sends requests to the model server that clients should not send, and checks their responses.

A damage and a kill are followed by a run that trains and promotes a version, and by a rollback, with three
inference requests after both. An attack is followed by three inference requests, and the attacks of each
item of the requirements by a run and a rollback.

A wrong answer is a response that differs from that of the version that must be served, another champion in
the registry, or another response to an attack than the one that is documented. Tracebacks are counted in the
output of the commands and in the log of the model server. A manual repair is a command that does not succeed.

| case | cases | wrong answers | tracebacks | manual repairs |
|---|---|---|---|---|
"""


class Table:
    """The counts by row of the table, in the order of the first case of each row."""

    def __init__(self) -> None:
        self.rows: dict[str, Counts] = {}
        self.kinds: dict[str, list[str]] = {}

    def add(self, name: str, kind: str, counts: Counts) -> None:
        """Add the counts of a case. The kinds of a name share a row, which lists them."""
        self.rows.setdefault(name, Counts()).add(counts)
        kinds = self.kinds.setdefault(name, [])
        if kind not in kinds:
            kinds.append(kind)

    def has(self, cases: Iterable[tuple[str, str]]) -> bool:
        """Return whether the table contains all these names with their kinds."""
        return all(kind in self.kinds.get(name, []) for name, kind in cases)

    def write(self) -> None:
        """Write the page."""
        total = Counts()
        for counts in self.rows.values():
            total.add(counts)
        labels = {f"{name}: {', '.join(self.kinds[name])}": counts for name, counts in self.rows.items()}
        lines = [
            f"| {label} | {c.cases} | {c.wrong_answers} | {c.tracebacks} | {c.manual_repairs} |"
            for label, c in {**labels, "all": total}.items()
        ]
        PAGE.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
