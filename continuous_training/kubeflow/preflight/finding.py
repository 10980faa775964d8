"""What a look at a cluster found: there, missing, doubtful, or not to be seen from here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

THERE, MISSING, DOUBTFUL, UNSEEN = "ok", "MISSING", "warning", "not seen"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for; `advice` says what brings it, or why it could not be seen."""

    state: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.what}" + (f": {self.advice}" if self.advice else "")


def missing(findings: Iterable[Finding]) -> list[Finding]:
    """Return what a run cannot go without."""
    return [finding for finding in findings if finding.state == MISSING]
