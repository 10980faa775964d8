"""What the verbs on a state folder have in common: arguments, registry, result, and one at a time."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import Registry
from continuous_training.core.errors import PipelineError, TransientError, as_pipeline_error
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.file_lock import held
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


@contextmanager
def existing_registry(settings: Settings) -> Iterator[Registry | None]:
    """Yield the registry, or None for a local one that nothing was ever written to: it stays unmade."""
    path = settings.registry.removeprefix("sqlite:///")
    if path != settings.registry and not Path(path).is_file():
        yield None
        return
    with open_registry(*settings.registry_access) as registry:
        yield registry


@contextmanager
def alone(settings: Settings, name: str, within: float = 0) -> Iterator[None]:
    """Hold the lock of a workload's rollouts for the block, waiting that many seconds for it.

    TransientError when somebody else is changing things there: two people who roll back at the same
    moment go back once.
    """
    with held(settings.state / "rollouts" / f"{name}.lock", within) as mine:
        if not mine:
            raise TransientError(
                f"another rollout, rollback or prune of {name} is going on in {settings.state}; look at what "
                f"came of it ({again('pipelines.status', settings)}) before you try again"
            )
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have Ctrl-C stop nothing within the block, which is about to be done; a second one does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def later(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        report("nearly done, so this is finished first; Ctrl-C again stops it at once")

    before = signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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


def again(verb: str, settings: Settings, *arguments: str) -> str:
    """Return the command line of another verb on the same state folder, registry and store."""
    # With --state the folder holds everything; a registry or a store elsewhere is in the environment.
    own = Settings.from_environment({}, settings.state)
    inside = (settings.registry, settings.store) == (own.registry, own.store)
    named = inside and settings.state != Path(".state").resolve()
    return shlex.join(
        ["python", "-m", verb, *arguments, *(["--state", str(settings.state)] if named else [])]
    )
