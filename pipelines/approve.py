"""Approve the version of a workload that waits for approval: serve it and make it the champion.

The rollout is the same as at the end of a run: the golden requests must pass, otherwise the champion
continues to answer and the version continues to wait. If the champion has changed since the evaluation, the
version is evaluated again first, and rejected if it is not better. If the command is interrupted, the same
command completes it. The user, the reason and the time are recorded.
"""

from __future__ import annotations

import sys

from components.deploy_serving.review import approve
from pipelines import command_line
from pipelines.review import create_parser, run_review

INTERRUPTION = (
    "interrupted: the version continues to wait, or its approval is completed by the same command. To see "
    "which version is served:"
)


def main(argv: list[str] | None = None) -> int:
    """Approve the version, and print the result. Return the exit code."""
    parser = create_parser(
        "approve", __doc__, "3 rejected by the second evaluation, 4 reverted, 6 unsettled, "
    )
    arguments = parser.parse_args(argv)
    status = command_line.same_location("pipelines.status", arguments)
    return run_review(arguments, approve, f"{INTERRUPTION}\n{status}", "promoted")


if __name__ == "__main__":
    sys.exit(main())
