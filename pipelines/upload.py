"""Upload compiled pipelines to Kubeflow Pipelines: `python -m pipelines.upload --host URL`.

A pipeline is named after its workload, and a version after the content of its file. An existing version is
not uploaded again, so the command can be repeated.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from components.step_cli import interpreter
from continuous_training.core.command import ItemProgress, run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import report
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.connection import resolve_connection
from continuous_training.kubeflow.upload import upload
from workloads import discovery

from .compile import compile_workload
from .fixed_parameters import add_fixed_argument, fixed_from_arguments
from .images import add_image_arguments, images_from_arguments
from .steps.arguments import add_steps_argument, steps_from_arguments

EXIT_CODES = (
    "exit codes: 0 done, 2 user error, 75 temporarily unavailable: try again, 130 interrupted, 1 defect"
)


def add_server_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --host and --namespace."""
    parser.add_argument(
        "--host", metavar="URL", help="address of Kubeflow Pipelines; default: KF_PIPELINES_ENDPOINT"
    )
    parser.add_argument("--namespace", help="namespace of the profile, on a Kubeflow with several users")


def connect(arguments: argparse.Namespace) -> KubeflowClient:
    """Return a client for the server that arguments and environment select."""
    return KubeflowClient(resolve_connection(os.environ, arguments.host, arguments.namespace))


def main(argv: list[str] | None = None) -> int:
    """Upload the pipelines of the selected workloads, by default of all. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.upload",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "--workload", nargs="+", action="extend", metavar="NAME", help="default: all registered workloads"
    )
    add_server_arguments(parser)
    add_image_arguments(parser)
    add_steps_argument(parser)
    add_fixed_argument(parser, "--set")
    arguments = parser.parse_args(argv)
    progress = ItemProgress("uploaded")
    return run_command(lambda: _upload(arguments, progress), progress.interruption)


def _upload(arguments: argparse.Namespace, progress: ItemProgress) -> int:
    """Upload the pipelines of the workloads and print their versions. Return the exit code."""
    images, steps = images_from_arguments(arguments), steps_from_arguments(arguments)
    fixed = fixed_from_arguments(arguments)
    names, load_errors = discovery.usable(arguments.workload)
    progress.start(names)
    pipelines = [compile_workload(name, images, steps, fixed) for name in names]
    client = connect(arguments)
    for compiled in pipelines:
        uploaded = upload(client, compiled, discovery.get(compiled.name).summary)
        version = uploaded.version
        url = client.connection.version_url(version.pipeline_id, version.version_id)
        print(f"{compiled.version} {'uploaded' if uploaded.is_new else 'already exists'}: {url}")
        progress.finish(compiled.name)
    for name, reason in load_errors.items():
        report(f"broken: {name}: {reason}")
    if names:
        report(f"run it:  {_run_command(names[0], arguments)}")
    return UserError.exit_code if load_errors else DONE


def _run_command(workload: str, arguments: argparse.Namespace) -> str:
    """Return the command that runs the uploaded version, which depends on the images and the steps."""
    options = ("registry", "tag", "digests", "steps", "host", "namespace")
    values = [(f"--{name}", getattr(arguments, name)) for name in options]
    values += [("--fix", assignment) for assignment in arguments.fixed]
    words = [word for option, value in values if value for word in (option, str(value))]
    command = ("-m", "pipelines.run", "--target", "cluster", "--workload", workload, *words)
    return f"{interpreter()} {shlex.join(command)}"


if __name__ == "__main__":
    sys.exit(main())
