"""The common part of the commands approve and reject."""

from __future__ import annotations

import argparse
from typing import Protocol

from components.deploy_serving.review import UNCHANGED, CheckName, Reviewer, ReviewResult
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.settings import Settings
from continuous_training.core.user import user_name
from pipelines import command_line
from workloads import discovery

MAX_REASON_LENGTH = 500


class Decision(Protocol):
    """The function of a command: `approve` or `reject`."""

    def __call__(
        self, name: str, reviewer: Reviewer, settings: Settings, check_name: CheckName
    ) -> ReviewResult:
        """Carry out the decision of the reviewer."""
        ...


def create_parser(name: str, description: str | None, exit_codes: str) -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_line.create_parser(name, description, workload=True, exit_codes=exit_codes)
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, which is recorded")
    return parser


def run_review(arguments: argparse.Namespace, decide: Decision, repeatable: str, passed: str) -> int:
    """Decide about the version that waits, and print the result. Return the exit code.

    `passed` is the verdict that the command aims at: with another one it has the exit code of that verdict.
    """

    def run() -> ReviewResult:
        if len(arguments.why) > MAX_REASON_LENGTH:
            raise UserError(f"--why is longer than {MAX_REASON_LENGTH} characters; pass a shorter reason")
        with command_line.open_settings(arguments) as settings:
            reviewer = Reviewer(user_name(), arguments.why)
            return decide(arguments.workload, reviewer, settings, discovery.get)

    def exit_code(result: ReviewResult) -> int:
        return exit_code_of("" if result.verdict == passed else result.verdict)

    return command_line.print_result(arguments, run, _show, repeatable, exit_code)


def _show(result: ReviewResult) -> None:
    version = f"{result.workload}: version {result.version.version} ({result.version.digest[:12]})"
    message = {
        UNCHANGED: ": nothing to do",
        "promoted": " is approved: it is the champion and is served",
        "rejected": " is rejected: the champion is unchanged",
    }[result.verdict]
    print(f"{version}{message}")
    for reason in result.reasons:
        print(f"    {reason}")
    if result.endpoint:
        print(f"endpoint: {result.endpoint}")
