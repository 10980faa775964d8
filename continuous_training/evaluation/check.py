"""One line of the gate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One line of the gate, for people: the name, the measured value, the limit, and whether it passed.

    A check with an empty limit is a note: it informs and cannot fail.
    """

    name: str
    measured: str
    limit: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.measured}" + (f"; required: {self.limit}" if self.limit else "")


def note(name: str, text: str) -> Check:
    """Return a note: a check without a limit."""
    return Check(name, text, "", True)
