"""Uploads compiled pipelines to Kubeflow Pipelines: `python -m pipelines.upload --host URL`.

A pipeline is named after its workload, a version after the content of its file: what is there already
is left alone, so the command may be run as often as one likes.
"""

from __future__ import annotations

import argparse
import os
import sys

from components.step_cli import interpreter
from continuous_training.core.errors import PipelineError, UserError, as_pipeline_error
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
    try:
        images, steps = images_of(arguments), steps_of(arguments)
        names, broken = discovery.sound(arguments.workload)
        compiled = [compile_workload(name, images, steps) for name in names]
        kubeflow = connect(arguments)
        for one in compiled:
            uploaded = upload(kubeflow, one, discovery.get(one.name).summary)
            word = "uploaded" if uploaded.new else "is there"
            page = kubeflow.access.pipeline_page(uploaded.pipeline_id, uploaded.version_id)
            print(f"{one.version} {word}: {page}")
    except (PipelineError, OSError) as error:
        understood = as_pipeline_error(error)
        report(f"error: {understood}")
        return understood.exit_code
    for name, why in broken.items():
        report(f"broken: {name}: {why}")
    if compiled:
        report(f"run it:  {interpreter()} -m pipelines.run --target cluster --workload {compiled[0].name}")
    return UserError.exit_code if broken else 0


if __name__ == "__main__":
    sys.exit(main())
