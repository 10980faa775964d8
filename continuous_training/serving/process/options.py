"""The settings as options of a command line."""

from __future__ import annotations

import argparse
import os

from continuous_training.serving.process.settings import MIB, Settings, available_cores

_HELP = {
    "--max-body": ("MIB", "the largest request (default: %s)"),
    "--max-held": ("MIB", "the most that all requests under way may hold (default: %s)"),
    "--max-waiting": ("N", "requests that may wait; more are told to try again (default: %s)"),
    "--timeout": ("S", "seconds for a request to arrive, and for its turn to come (default: %s)"),
    "--batch-rows": ("N", "rows answered in one inference; 1 for no batching (default: %s)"),
    "--batch-wait": ("MS", "milliseconds that a batch may wait to fill (default: %s)"),
    "--threads": ("N", "threads of one inference; 0 for as many as there are cores (default: %s)"),
    "--stall": ("S", "seconds after which a handler counts as hung and the process ends (default: %s)"),
    "--linger": ("S", "seconds to go on for, not ready, once told to stop (default: %s)"),
    "--max-connections": ("N", "connections at once; more are told to try again (default: %s)"),
}
_UNITS = {"max_body": MIB, "max_held": MIB, "batch_wait": 0.001}


def add(parser: argparse.ArgumentParser) -> None:
    """Add an option for each setting."""
    group = parser.add_argument_group("limits and batches")
    for option, (unit, words) in _HELP.items():
        name = option.removeprefix("--").replace("-", "_")
        value = getattr(Settings, name) / _UNITS.get(name, 1)
        kind = float if isinstance(getattr(Settings, name), float) else int
        group.add_argument(option, type=kind, metavar=unit, default=kind(value), help=words % f"{value:g}")
    group.add_argument("--access-log", action="store_true", help="log a line for each request")


def settings(args: argparse.Namespace) -> Settings:
    """Read the settings back, and tell BLAS and FAISS how many threads they may use.

    They read that when they are loaded: numpy must not be imported before this. UserError when a setting
    makes no sense.
    """
    given = {option.removeprefix("--").replace("-", "_") for option in _HELP}
    values = {name: getattr(args, name) for name in given}
    for name, unit in _UNITS.items():
        values[name] = values[name] * unit
    if values["threads"] == 0:
        values["threads"] = available_cores()
    found = Settings(**values, access_log=args.access_log)
    os.environ.setdefault("OMP_NUM_THREADS", str(found.threads))
    # Threads that wait for each other sleep: spinning takes the cores from whoever makes the next request.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    return found
