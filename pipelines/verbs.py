"""What the verbs on a state folder have in common: their arguments, and what they find there."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.errors import INTERRUPTED, PipelineError
from adapters.local_registry import open_registry
from adapters.registry import Registry
from components.settings import Settings
from workloads import register

CODES = "exit codes: 0 done, 2 user error, 4 rolled back, 75 try again, 130 interrupted, 1 unexpected"


def command(verb: str, text: str | None, *, workload: bool | None = None) -> argparse.ArgumentParser:
    """Return a parser with --state, and --workload when it is required (True) or optional (False)."""
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{verb}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=CODES,
    )
    if workload is not None:
        told = "see python -m workloads" + ("" if workload else "; default: every one")
        parser.add_argument("--workload", required=workload, metavar="NAME", help=told)
    parser.add_argument("--state", type=Path, metavar="DIR", help="the state folder; default: .state")
    return parser


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings of a verb: --state, or the environment."""
    return Settings.from_environment(os.environ, arguments.state)


@contextmanager
def existing_registry(settings: Settings) -> Iterator[Registry | None]:
    """Yield the registry, or None for a local one that nothing was ever written to: it stays unmade."""
    path = settings.registry.removeprefix("sqlite:///")
    if path != settings.registry and not Path(path).is_file():
        yield None
        return
    with open_registry(*settings.registry_access) as registry:
        yield registry


def check_name(name: str, known: bool) -> None:
    """Return when something is known of the workload or it is registered; UserError otherwise."""
    if not known and name not in register.names():
        register.get(name)


def finish(
    arguments: argparse.Namespace, work: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], None]
) -> int:
    """Do a verb's work and show what came of it, as one JSON object with --json; returns the exit code."""
    as_json = getattr(arguments, "json", False)
    try:
        result = work()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        if as_json:
            print(json.dumps({"verdict": "failed", "reasons": [str(error)]}))
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: look at what is served with python -m pipelines.status", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


def again(verb: str, settings: Settings, *arguments: str) -> str:
    """Return the command line of another verb on the same state folder."""
    state = [] if settings.state == Path(".state").resolve() else ["--state", str(settings.state)]
    return shlex.join(["python", "-m", verb, *arguments, *state])


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
