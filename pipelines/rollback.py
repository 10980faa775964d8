"""Puts a former champion back, at the endpoint and in the registry, in one go.

It proves itself by its golden requests, asked through the endpoint, before the alias moves; otherwise
all is left as it was. Without --to it is the version that was champion before the present one; a second
rollback goes to the one before that, and never to one that was rolled back. --to names any version that
ever was champion; with the present one's number it makes the endpoint serve what the registry says.
An archive that is missing from the store, or was altered there, is put back from the endpoint's own copy
where that has the registered digest.
A rollback that was cut off, by whatever, is finished by the same command.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.operations.rollback import roll_back
from pipelines import command_line
from workloads import discovery

LONGEST_WHY = 500


def _show(result: dict[str, Any]) -> None:
    name, to, source = result["workload"], result["to"], result["from"]
    version = f"version {to['version']} ({to['digest'][:12]})"
    former = f"version {source['version']} ({source['digest'][:12]})" if source else "no champion"
    behind = f"version {result['previous']}" if result["previous"] else "nothing"
    if result["resumed"]:
        print(f"{name}: a rollback was cut off ({result['run']}); this is its end, and no step further back")
    print(
        {
            "nothing to do": f"{name}: {version} is the champion and is served: nothing to do",
            "put back": f"{name}: {version} is the champion and is served; its archive is in the store again",
            "planned": f"{name}: would go from {former} to {version}; behind it stands {behind}",
            "served again": f"{name}: {version} is served again, as the registry says",
            "rolled back": f"{name}: {version} is served and is the champion again, instead of {former}; "
            f"behind it stands {behind}",
        }[result["verdict"]]
    )
    if result["endpoint"]:
        print(f"endpoint: {result['endpoint']}")


def main(argv: list[str] | None = None) -> int:
    """Roll back and say what came of it; returns the exit code."""
    parser = command_line.create_parser("rollback", __doc__, workload=True, exit_codes="4 reverted, ")
    parser.add_argument("--to", metavar="VERSION", help="the registry's number of a former champion")
    parser.add_argument("--why", default="rolled back by hand", metavar="TEXT", help="kept in the trail")
    parser.add_argument("--dry-run", action="store_true", help="check all that can be, and change nothing")
    arguments = parser.parse_args(argv)
    return command_line.print_result(arguments, lambda: _work(arguments), _show)


def _work(arguments: argparse.Namespace) -> dict[str, Any]:
    if len(arguments.why) > LONGEST_WHY:
        raise UserError(
            f"--why is longer than {LONGEST_WHY} characters; the trail keeps a sentence, not a letter"
        )
    settings = command_line.read_settings(arguments)
    return roll_back(
        arguments.workload,
        arguments.to,
        arguments.why,
        _user(),
        settings,
        arguments.dry_run,
        check_name=discovery.get,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
