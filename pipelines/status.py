"""Show which versions are served, since when, on which data they were trained, and whether all parts agree.

The command changes nothing: it starts no model server, and creates no registry and no store. If the registry
is unreachable, the command shows the served version and ends with exit code 75.
"""

from __future__ import annotations

import sys

from continuous_training.core.exit_codes import DONE, TRANSIENT
from continuous_training.operations.status import Status, read_status
from continuous_training.operations.status_table import show
from pipelines import command_line
from workloads import discovery


def main(argv: list[str] | None = None) -> int:
    """Print the status. Return the exit code."""
    arguments = command_line.create_parser("status", __doc__, workload=False).parse_args(argv)

    def run() -> Status:
        with command_line.open_settings(arguments) as settings:
            return read_status(arguments.workload, settings, discovery.names(), command_line.check_workload)

    return command_line.print_result(
        arguments, run, show, exit_code=lambda status: TRANSIENT if status.registry_problem else DONE
    )


if __name__ == "__main__":
    sys.exit(main())
