"""The approval of a workload's versions by a person, as a setting and as run parameters."""

from __future__ import annotations

from continuous_training.artifacts.approval import REQUIRED
from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Parameter, Values

MAX_DAYS = 365


def approval_parameters(approval: str, days: int) -> tuple[Parameter, ...]:
    """Return the run parameters `approval` and `approval_days` with the workload's defaults."""
    return (
        Parameter(
            "approval",
            approval,
            "required: a version that passes the gate is served after a person approves it",
            choices=("", REQUIRED),
        ),
        Parameter(
            "approval_days",
            days,
            "with approval=required: the days that the version waits for approval",
            minimum=1,
            maximum=MAX_DAYS,
        ),
    )


def check_approval(workload: str, approval: str, values: Values) -> None:
    """Raise UserError if a run would serve a version of a workload that requires approval without it."""
    if approval not in ("", REQUIRED):
        raise UserError(f'{workload}: the attribute approval is {approval!r}; it must be "" or "{REQUIRED}"')
    if approval and not values["approval"]:
        raise UserError(
            f"parameter approval: the workload {workload} requires approval, and a run cannot change this"
        )
