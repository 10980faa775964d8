"""The arguments, the settings and the output that the commands on a state directory share."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.json_object import Json
from continuous_training.core.messages import quiet_output, report
from continuous_training.core.settings import ClusterSource, Settings
from continuous_training.core.temporary_files import temporary_files_in
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE
from continuous_training.serving.process.state_files import state_directory
from workloads import discovery

READ_ONLY_INTERRUPTION = "interrupted: the command only reads, so nothing was changed"

EXIT_CODES = (
    "exit codes: 0 done, 2 wrong input or set-up, {}75 temporarily unavailable: try again, 130 interrupted, "
    "1 unexpected error"
)


class CommandResult(Protocol):
    """The result of a command. `to_json` returns the object that --json prints."""

    def to_json(self) -> Json:
        """Return the JSON object of the result."""
        ...


Result = TypeVar("Result", bound=CommandResult)


def create_parser(
    name: str,
    description: str | None,
    *,
    workload: bool | None = None,
    location: bool = True,
    exit_codes: str = "",
) -> argparse.ArgumentParser:
    """Return a parser with the common arguments.

    --workload is required (True), optional (False), or absent (None). `location` adds --state, --cluster and
    --namespace. `exit_codes` lists the additional exit codes of the command.
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
    if location:
        _add_location(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _add_location(parser: argparse.ArgumentParser) -> None:
    """Add --state, --cluster and --namespace."""
    location = parser.add_mutually_exclusive_group()
    location.add_argument(
        "--state",
        type=state_directory,
        metavar="DIR",
        help="the state directory, which contains the registry and the object store; default: .state, or "
        "the settings of the environment",
    )
    location.add_argument(
        "--cluster",
        nargs="?",
        const="",
        metavar="CONTEXT",
        help="use the settings, keys, registry and store of the cluster that KUBECONFIG and CONTEXT name; "
        "write this option last. Default of CONTEXT: the current context",
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        help=f"with --cluster: the namespace of the steps; default: {KUBEFLOW_NAMESPACE}",
    )


@contextmanager
def open_settings(arguments: argparse.Namespace) -> Iterator[Settings]:
    """Yield the settings of a command: those of --state, of --cluster, or else of the environment.

    With --cluster, ports of the cluster are forwarded within the block.
    """
    if arguments.cluster is None:
        if arguments.namespace:
            raise UserError("--namespace is the namespace of a cluster: pass --cluster, too")
        settings = Settings.from_environment(os.environ, arguments.state)
        with temporary_files_in(settings.state, "command"):
            yield settings
        return
    # Start-up time: the import loads the Kubernetes client, which local commands do not need.
    from continuous_training.operations.cluster_settings import open_cluster_settings

    source = ClusterSource(arguments.namespace or KUBEFLOW_NAMESPACE, arguments.cluster)
    with open_cluster_settings(source, os.environ, report) as settings:
        yield settings


def same_location(module: str, arguments: argparse.Namespace) -> str:
    """Return the shell command that runs a module for the same workload and state directory or cluster."""
    options = ["--workload", arguments.workload]
    if arguments.state is not None:
        options += ["--state", str(arguments.state)]
    if arguments.namespace:
        options += ["--namespace", arguments.namespace]
    if arguments.cluster is not None:
        options += ["--cluster", *filter(None, [arguments.cluster])]
    return shlex.join(["python", "-m", module, *options])


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
