"""The request of the process that carries out a decision, and its exit code without a permission."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

NOT_PERMITTED = 77
"""The exit code if the Role of the service lacks a permission: EX_NOPERM of sysexits.h."""


@dataclass(frozen=True)
class DecisionRequest:
    """A decision of `user`. `action` is approve, reject or rollback.

    `run` is the run whose version is approved or rejected. `version` and `champion` are fields of a
    RollbackRequest.
    """

    action: str
    workload: str
    user: str
    reason: str
    run: str = ""
    version: str = ""
    champion: str = ""

    def to_argument(self) -> str:
        """Return the argument of the process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, text: str) -> DecisionRequest:
        """Read the argument of the process."""
        return cls(**json.loads(text))
