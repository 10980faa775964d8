"""What the verbs on a state folder have in common: arguments, registry, result, and one at a time."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import Any

from continuous_training.core.errors import PipelineError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.messages import quiet_output, report
from continuous_training.core.settings import Settings
from continuous_training.serving.process.server_state import state_directory
from workloads import discovery

LOOK = "interrupted: look at what is served with python -m pipelines.status"

CODES = "exit codes: 0 done, 2 user error, {}75 try again, 130 interrupted, 1 unexpected"


def command(
    verb: str, text: str | None, *, workload: bool | None = None, codes: str = ""
) -> argparse.ArgumentParser:
    """Return a parser with --state and --json, and --workload when required (True) or optional (False)."""
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{verb}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=CODES.format(codes),
    )
    if workload is not None:
        told = "see python -m workloads" + ("" if workload else "; default: every one")
        parser.add_argument("--workload", required=workload, metavar="NAME", help=told)
    parser.add_argument(
        "--state",
        type=state_directory,
        metavar="DIR",
        help="the state folder, and all that is in it; default: .state, or as the environment says",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings of a verb: --state, or the environment."""
    return Settings.from_environment(os.environ, arguments.state)


def check_name(name: str, known: bool) -> None:
    """Return when something is known of the workload or it is registered; UserError otherwise."""
    if not known and name not in discovery.names():
        discovery.get(name)


def finish(
    arguments: argparse.Namespace, work: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], None]
) -> int:
    """Do a verb's work and show what came of it, as one JSON object with --json; returns the exit code."""
    try:
        with quiet_output():
            result = work()
    except (PipelineError, OSError) as error:
        understood = as_pipeline_error(error)
        report(f"error: {understood}")
        if arguments.json:
            print(json.dumps({"verdict": "failed", "reasons": [str(understood)]}))
        return understood.exit_code
    except KeyboardInterrupt:
        report(LOOK)
        if arguments.json:
            print(json.dumps({"verdict": "interrupted", "reasons": [LOOK]}))
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0
