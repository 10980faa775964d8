"""Roll back to an earlier champion, at the endpoint and in the registry.

The version's golden requests must pass at the endpoint before the alias moves. Otherwise nothing is changed.
Without --to, the command goes to the version that was champion before the current one. A second rollback
goes to the champion before that, and never to a version that was rolled back. --to selects any version that
ever was the champion. With the number of the current champion, the endpoint serves it again. An archive that
is missing from the store, or was altered there, is restored from the endpoint's copy if that has the
registered digest. If a rollback is interrupted, the same command completes it.
"""

from __future__ import annotations

import argparse
import sys

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.core.errors import UserError
from continuous_training.core.temporary_files import remove_leftovers
from continuous_training.core.user import user_name
from continuous_training.operations.rollback import (
    ARCHIVE_RESTORED,
    PLANNED,
    ROLLED_BACK,
    SERVED_AGAIN,
    UNCHANGED,
    RollbackResult,
    roll_back,
)
from pipelines import command_line
from workloads import discovery

MAX_REASON_LENGTH = 500
INTERRUPTION = (
    "interrupted: the rollback was not completed. Run the same command again to complete it. To see which "
    "version is served:"
)


def _show(result: RollbackResult) -> None:
    plan = result.plan
    version, champion = _describe(plan.version), _describe(plan.champion) if plan.champion else "no champion"
    following = f"version {plan.previous}" if plan.previous else "no earlier champion"
    if result.resumed:
        print(f"{plan.workload}: completed the interrupted rollback {result.metadata.run}")
    message = {
        UNCHANGED: f"{version} is the champion and is served: nothing to do",
        ARCHIVE_RESTORED: f"{version} is the champion and is served; its archive was restored in the store",
        PLANNED: f"would go from {champion} to {version}; the next rollback would go to {following}",
        SERVED_AGAIN: f"{version} is the champion, and is served again",
        ROLLED_BACK: f"{version} is the champion again and is served, instead of {champion}; the next "
        f"rollback would go to {following}",
    }[result.verdict]
    print(f"{plan.workload}: {message}")
    if result.endpoint:
        print(f"endpoint: {result.endpoint}")


def _describe(version: ModelVersion) -> str:
    return f"version {version.version} ({version.digest[:12]})"


def main(argv: list[str] | None = None) -> int:
    """Roll back, and print the result. Return the exit code."""
    parser = command_line.create_parser(
        "rollback", __doc__, workload=True, exit_codes="4 reverted, 6 unsettled, "
    )
    parser.add_argument("--to", metavar="VERSION", help="the registry's number of a former champion")
    parser.add_argument(
        "--why", default="rolled back by hand", metavar="TEXT", help="the reason, which the registry records"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, and change nothing")
    arguments = parser.parse_args(argv)
    status = command_line.same_location("pipelines.status", arguments)
    return command_line.print_result(arguments, lambda: _run(arguments), _show, f"{INTERRUPTION}\n{status}")


def _run(arguments: argparse.Namespace) -> RollbackResult:
    if len(arguments.why) > MAX_REASON_LENGTH:
        raise UserError(f"--why is longer than {MAX_REASON_LENGTH} characters; pass a shorter reason")
    with command_line.open_settings(arguments) as settings:
        if not arguments.dry_run:
            remove_leftovers(settings.state)
        return roll_back(
            arguments.workload,
            arguments.to,
            arguments.why,
            user_name(),
            settings,
            arguments.dry_run,
            check_name=discovery.get,
        )


if __name__ == "__main__":
    sys.exit(main())
