"""A finding: one line of a preflight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The result of one preflight check, as it is printed."""

    OK = "ok"
    MISSING = "MISSING"
    WARNING = "warning"
    NOT_VISIBLE = "not seen"


@dataclass(frozen=True)
class Finding:
    """The result for one requirement. `advice` states how to provide it, or why it is not visible."""

    state: State
    requirement: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.requirement}" + (f": {self.advice}" if self.advice else "")


def missing(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that prevent a run."""
    return [finding for finding in findings if finding.state == State.MISSING]
