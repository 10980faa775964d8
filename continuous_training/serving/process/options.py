"""Command-line options for the settings of a server."""

from __future__ import annotations

import argparse
import os
from typing import NamedTuple

from continuous_training.serving.process.settings import MIB, ServerSettings, available_cores


class _Option(NamedTuple):
    """An option for a number. The setting is the value of the option multiplied by `factor`."""

    unit: str
    help_text: str
    factor: float = 1


_OPTIONS = {
    "max_body": _Option("MIB", "maximum size of a request body", MIB),
    "max_held": _Option("MIB", "maximum size of all request bodies in progress together", MIB),
    "max_waiting": _Option("N", "maximum number of queued requests of a model; others get status 503"),
    "timeout": _Option("S", "seconds for a request to arrive, and seconds that it may be queued"),
    "batch_rows": _Option("N", "maximum number of rows of one inference; 1 turns batching off"),
    "batch_wait": _Option("MS", "milliseconds that a batch waits for more requests", 0.001),
    "threads": _Option("N", "threads of one inference; 0 for the number of cores"),
    "stall": _Option("S", "seconds after which an inference counts as hung and the process ends"),
    "linger": _Option("S", "seconds to continue after SIGTERM, with the readiness endpoint reporting 503"),
    "max_connections": _Option("N", "maximum number of connections; further connections get status 503"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add an option for each setting."""
    group = parser.add_argument_group("limits and batches")
    for name, option in _OPTIONS.items():
        setting = getattr(ServerSettings, name)
        kind = float if isinstance(setting, float) else int
        default = setting / option.factor
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar=option.unit,
            default=kind(default),
            help=f"{option.help_text} (default: {default:g})",
        )
    group.add_argument("--access-log", action="store_true", help="log a line for each request")
    group.add_argument(
        "--no-fast-path",
        dest="fast_path",
        action="store_false",
        help="process each request in an asyncio task of its own, as other ASGI servers do",
    )
    group.add_argument(
        "--cors-origin",
        dest="cors_origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an origin whose web pages may read responses, or * for all; repeat it (default: none)",
    )
    group.add_argument(
        "--root-path",
        default="",
        metavar="PATH",
        help="the prefix of all paths behind a proxy, such as /models (default: none)",
    )


def settings(args: argparse.Namespace) -> ServerSettings:
    """Return the settings from the parsed options. Set the number of threads of BLAS and FAISS.

    BLAS and FAISS read the environment when they are loaded: call this before the first import of numpy.
    Raises UserError if a setting is invalid.
    """
    values = {name: getattr(args, name) * option.factor for name, option in _OPTIONS.items()}
    if values["threads"] == 0:
        values["threads"] = available_cores()
    result = ServerSettings(
        **values,
        access_log=args.access_log,
        fast_path=args.fast_path,
        cors_origins=tuple(origin.lower() for origin in args.cors_origins),
        root_path=args.root_path.rstrip("/"),
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(result.threads))
    # Threads that wait actively use the cores that the next request needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    return result
