"""The arguments, the settings and the output that the commands on a state directory share."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import quiet_output
from continuous_training.core.settings import Settings
from continuous_training.serving.process.server_state import state_directory
from workloads import discovery

READ_ONLY_INTERRUPTION = "interrupted: the command only reads, so nothing was changed"

EXIT_CODES = (
    "exit codes: 0 done, 2 wrong input or set-up, {}75 temporarily unavailable: try again, 130 interrupted, "
    "1 unexpected error"
)


class CommandResult(Protocol):
    """The result of a command. `to_json` returns the object that --json prints."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the result."""
        ...


Result = TypeVar("Result", bound=CommandResult)


def create_parser(
    name: str, description: str | None, *, workload: bool | None = None, exit_codes: str = ""
) -> argparse.ArgumentParser:
    """Return a parser with --state and --json, and --workload if it is required (True) or optional (False).

    `exit_codes` lists the additional exit codes of the command.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES.format(exit_codes),
    )
    if workload is not None:
        help_text = "see python -m workloads" + ("" if workload else "; default: all workloads")
        parser.add_argument("--workload", required=workload, metavar="NAME", help=help_text)
    parser.add_argument(
        "--state",
        type=state_directory,
        metavar="DIR",
        help="the state directory, which contains the registry and the object store; default: .state, or "
        "the settings of the environment",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings of a command: --state, or else the environment."""
    return Settings.from_environment(os.environ, arguments.state)


def check_workload(name: str, has_data: bool) -> None:
    """Raise UserError if a workload is not registered and has no data in the state directory either."""
    if not has_data and name not in discovery.names():
        discovery.get(name)


def print_result(
    arguments: argparse.Namespace,
    action: Callable[[], Result],
    show: Callable[[Result], None],
    interruption: str = READ_ONLY_INTERRUPTION,
    exit_code: Callable[[Result], int] = lambda _: DONE,
) -> int:
    """Run the work of a command and print its result: with `show`, or as one JSON object with --json.

    Return the exit code of the command.
    """

    def run() -> int:
        with quiet_output():
            result = action()
        if arguments.json:
            print(json.dumps(result.to_json()))
        else:
            show(result)
        return exit_code(result)

    return run_command(run, interruption, json_output=arguments.json)
