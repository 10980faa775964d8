"""The table of the bad-day suite."""

from __future__ import annotations

from pathlib import Path

from .damage import DAMAGE, FILES
from .recovery import Counts

PAGE = Path(__file__).parents[2] / "docs" / "bad-day.md"
_HEAD = """\
# Bad day

This page is written by `make test-bad-day`. A case damages the files of one type in a state directory that is
kept for all cases, or kills a run with all of its steps at a random moment (SIGKILL). It is followed by a run
that trains and promotes, by a rollback, and by three inference requests after both. A wrong answer is one
that differs from that of the champion. A manual repair is a command that ends with another exit code
than 0 or 3.

| case | cases | wrong answers | tracebacks | manual repairs |
|---|---|---|---|---|
"""


class Table:
    """The counts by case."""

    def __init__(self) -> None:
        self.rows: dict[str, Counts] = {}

    def add(self, name: str, kind: str, counts: Counts) -> None:
        """Add the counts of a case. The kinds of damage of one type of file share a row."""
        label = f"{name}: {kind}" if kind == "killed" else f"{name}: {', '.join(DAMAGE)}"
        self.rows.setdefault(label, Counts()).add(counts)

    @property
    def is_complete(self) -> bool:
        """Whether all cases are in the table."""
        return len(self.rows) == len(FILES) + 1

    def write(self) -> None:
        """Write the page."""
        total = Counts()
        for counts in self.rows.values():
            total.add(counts)
        rows = {**self.rows, "all": total}
        lines = [
            f"| {label} | {c.cases} | {c.wrong_answers} | {c.tracebacks} | {c.manual_repairs} |"
            for label, c in rows.items()
        ]
        PAGE.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
