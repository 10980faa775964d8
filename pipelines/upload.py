"""Uploads compiled pipelines to Kubeflow Pipelines: `python -m pipelines.upload --host URL`.

A pipeline is named after its workload, a version after the content of its file: what is there already
is left alone, so the command may be run as often as one likes.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass

from components.step_cli import interpreter
from continuous_training.core.errors import PipelineError, TransientError, UserError, as_pipeline_error
from continuous_training.core.messages import report
from continuous_training.kubeflow.api import Kubeflow
from continuous_training.kubeflow.connection import find_access
from workloads import discovery

from .compile import Compiled, compile_workload
from .images import add_image_arguments, images_of
from .steps import add_steps_argument, steps_of

CODES = "exit codes: 0 done, 2 user error, 75 try again, 130 interrupted, 1 unexpected"


@dataclass(frozen=True)
class Uploaded:
    """A pipeline's version on the server; `new` tells whether this upload brought it."""

    compiled: Compiled
    pipeline_id: str
    version_id: str
    new: bool


def upload(kubeflow: Kubeflow, compiled: Compiled) -> Uploaded:
    """Return the version with this content, uploaded when it is not there."""
    description = discovery.get(compiled.name).summary
    pipeline = kubeflow.pipeline(compiled.name) or kubeflow.create_pipeline(compiled.name, description)
    found, new = find_version(kubeflow, pipeline["pipeline_id"], compiled.version), False
    if found is None:
        # The pipeline is made without a version first: uploaded in one, it would get one of its own name.
        made = kubeflow.upload_version(
            pipeline["pipeline_id"], compiled.version, f"sha256:{compiled.digest}", compiled.text
        )
        found = made["pipeline_version_id"] if made else None
        new = found is not None
    if found is None:
        found = find_version(kubeflow, pipeline["pipeline_id"], compiled.version)
    if found is None:
        raise TransientError(
            f"the server says that version {compiled.version} is there and does not list it; try again"
        )
    return Uploaded(compiled, pipeline["pipeline_id"], found, new)


def look_up(kubeflow: Kubeflow, compiled: Compiled) -> Uploaded:
    """Return what an upload would lead to, without one; ids that are not given yet say so."""
    pipeline = kubeflow.pipeline(compiled.name)
    there = find_version(kubeflow, pipeline["pipeline_id"], compiled.version) if pipeline else None
    version_id = there or f"(to be uploaded: {compiled.version})"
    return Uploaded(compiled, pipeline["pipeline_id"] if pipeline else "(new)", version_id, there is None)


def find_version(kubeflow: Kubeflow, pipeline_id: str, name: str) -> str | None:
    """Return the id of the pipeline's version of that name, or None."""
    for version in kubeflow.versions(pipeline_id):
        if name in (version.get("name"), version.get("display_name")):
            return str(version["pipeline_version_id"])
    return None


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
            uploaded = upload(kubeflow, one)
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
