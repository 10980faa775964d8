"""Uploads compiled pipelines to Kubeflow Pipelines: `python -m pipelines.upload --host URL`.

A pipeline is named after its workload, a version after the content of its file: what is there already
is left alone, so the command may be run as often as one likes.
"""

from __future__ import annotations

import argparse
import os
import sys

from components.step_cli import interpreter
from continuous_training.core.command import ItemProgress, run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.messages import report
from continuous_training.kubeflow.api import Kubeflow
from continuous_training.kubeflow.connection import find_access
from continuous_training.kubeflow.upload import upload
from workloads import discovery

from .compile import compile_workload
from .images import add_image_arguments, images_of
from .steps import add_steps_argument, steps_of

CODES = "exit codes: 0 done, 2 user error, 75 try again, 130 interrupted, 1 unexpected"


def add_server_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --host and --namespace."""
    parser.add_argument("--host", metavar="URL", help="Kubeflow Pipelines; default: KF_PIPELINES_ENDPOINT")
    parser.add_argument("--namespace", help="the profile's namespace, where Kubeflow has several users")


def connect(arguments: argparse.Namespace) -> Kubeflow:
    """Return the server that arguments and environment name."""
    return Kubeflow(find_access(os.environ, arguments.host, arguments.namespace))


def main(argv: list[str] | None = None) -> int:
    """Upload what is asked for, or everything; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.upload",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=CODES,
    )
    parser.add_argument(
        "--workload", nargs="+", action="extend", metavar="NAME", help="default: every registered one"
    )
    add_server_arguments(parser)
    add_image_arguments(parser)
    add_steps_argument(parser)
    arguments = parser.parse_args(argv)
    progress = ItemProgress("uploaded")
    return run_command(lambda: _upload(arguments, progress), progress.interruption)


def _upload(arguments: argparse.Namespace, progress: ItemProgress) -> int:
    """Upload the pipelines of the workloads and print their versions. Return the exit code."""
    images, steps = images_of(arguments), steps_of(arguments)
    names, broken = discovery.usable(arguments.workload)
    progress.start(names)
    pipelines = [compile_workload(name, images, steps) for name in names]
    kubeflow = connect(arguments)
    for compiled in pipelines:
        uploaded = upload(kubeflow, compiled, discovery.get(compiled.name).summary)
        status = "uploaded" if uploaded.new else "is there"
        page = kubeflow.access.pipeline_page(uploaded.pipeline_id, uploaded.version_id)
        print(f"{compiled.version} {status}: {page}")
        progress.finish(compiled.name)
    for name, reason in broken.items():
        report(f"broken: {name}: {reason}")
    if names:
        report(f"run it:  {interpreter()} -m pipelines.run --target cluster --workload {names[0]}")
    return UserError.exit_code if broken else DONE


if __name__ == "__main__":
    sys.exit(main())
