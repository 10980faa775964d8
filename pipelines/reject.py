"""Reject the version of a workload that waits for approval. The champion is kept.

The version stays in the registry, without the alias `challenger`. The user, the reason and the time are
recorded.
"""

from __future__ import annotations

import sys

from components.deploy_serving.review import reject
from pipelines.review import create_parser, run_review

INTERRUPTION = "interrupted: run the same command again to complete it"


def main(argv: list[str] | None = None) -> int:
    """Reject the version, and print the result. Return the exit code."""
    parser = create_parser("reject", __doc__, "")
    return run_review(parser.parse_args(argv), reject, INTERRUPTION, "rejected")


if __name__ == "__main__":
    sys.exit(main())
