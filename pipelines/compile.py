"""Compile workloads to pipeline files: `python -m pipelines.compile`.

The Kubeflow UI accepts each NAME.yaml under Pipelines, Upload pipeline. The local run executes the same
file. The version of a pipeline is the digest of its file.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.step_cli import interpreter
from continuous_training.core.command import ItemProgress, run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.files import write_text
from continuous_training.core.messages import report
from continuous_training.core.temporary_files import system_folder
from continuous_training.kubeflow.object_names import SERVICE_OWNERS
from continuous_training.kubeflow.upload import CompiledPipeline
from workloads import discovery

from .fixed_parameters import Fixed, add_fixed_argument, fixed_from_arguments
from .images import Images, add_image_arguments, images_from_arguments
from .steps.arguments import add_steps_argument, steps_from_arguments

if TYPE_CHECKING:
    from .steps.settings_file import Steps

DEFAULT_OUTPUT = Path("build/pipelines")


def compile_workload(
    name: str, images: Images, steps: Steps | None = None, fixed: Fixed | None = None
) -> CompiledPipeline:
    """Return the workload's pipeline as IR YAML, by default with the default settings of the steps.

    `fixed` are run parameters that runs cannot change. The same arguments give the same text.
    """
    return CompiledPipeline(name, _compile(name, images, steps, fixed, None))


def compile_manifest(
    name: str,
    images: Images,
    namespace: str | None = None,
    steps: Steps | None = None,
    fixed: Fixed | None = None,
) -> CompiledPipeline:
    """Return the Kubernetes objects `Pipeline` and `PipelineVersion`, named after the pipeline's content."""
    version = compile_workload(name, images, steps, fixed).version
    return CompiledPipeline(name, _compile(name, images, steps, fixed, (version, namespace)))


def _compile(
    name: str,
    images: Images,
    steps: Steps | None,
    fixed: Fixed | None,
    manifest: tuple[str, str | None] | None,
) -> str:
    """Return the pipeline as IR YAML, or as Kubernetes objects with `manifest`: (version, namespace)."""
    _check_service_name(name)
    # Import here for a shorter start-up time of --help and of errors: kfp takes a second.
    from kfp import compiler

    from .pipeline import build
    from .steps.settings_file import DEFAULTS

    options = None
    if manifest:
        options = compiler.KubernetesManifestOptions(
            pipeline_name=name,
            pipeline_version_name=manifest[0],
            namespace=manifest[1],
            include_pipeline_manifest=True,
        )
    with system_folder("compile") as folder:
        path = folder / f"{name}.yaml"
        compiler.Compiler().compile(
            build(discovery.get(name), images, steps or DEFAULTS, fixed or {}),
            str(path),
            kubernetes_manifest_format=manifest is not None,
            kubernetes_manifest_options=options,
        )
        return path.read_text(encoding="utf-8")


def _check_service_name(name: str) -> None:
    """Raise UserError if the endpoint of a workload would have the name of another owner's Service."""
    if owner := SERVICE_OWNERS.get(name):
        raise UserError(
            f"the workload {name} cannot be compiled: on a cluster, its endpoint would be the Service "
            f"{name}, which belongs to {owner}. Rename the workload"
        )


def main(argv: list[str] | None = None) -> int:
    """Compile the named workloads, or all of them. Return the exit code."""
    arguments = _parser().parse_args(argv)
    progress = ItemProgress("compiled")
    return run_command(lambda: _compile_workloads(arguments, progress), progress.interruption)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compile", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--workload", nargs="+", action="extend", metavar="NAME", help="default: all registered workloads"
    )
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR", help="default: %(default)s"
    )
    add_image_arguments(parser)
    add_steps_argument(parser)
    add_fixed_argument(parser, "--set")
    parser.add_argument(
        "--kubernetes-manifest",
        action="store_true",
        help="also write NAME.manifest.yaml: the Kubernetes objects Pipeline and PipelineVersion",
    )
    parser.add_argument("--namespace", help="namespace of the Kubernetes objects")
    return parser


def _compile_workloads(arguments: argparse.Namespace, progress: ItemProgress) -> int:
    """Write the pipelines, print their paths and versions, and report broken workloads."""
    _check_namespace(arguments)
    images, steps = images_from_arguments(arguments), steps_from_arguments(arguments)
    names, load_errors = discovery.usable(arguments.workload)
    progress.start(names)
    for name in names:
        for path, version in _write(name, arguments, images, steps):
            print(f"{path}  version {version}")
        progress.finish(name)
    for name, reason in load_errors.items():
        report(f"broken: {name}: {reason}")
    if names:
        _report_next_commands(names[0], arguments.kubernetes_manifest)
    return UserError.exit_code if load_errors else DONE


def _check_namespace(arguments: argparse.Namespace) -> None:
    namespace = arguments.namespace
    if namespace and not arguments.kubernetes_manifest:
        raise UserError(
            "--namespace applies to the Kubernetes objects only: add --kubernetes-manifest, or omit it"
        )
    if namespace and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", namespace):
        raise UserError(
            f"--namespace {namespace!r} is not a namespace: use lower-case letters, digits and '-', "
            "at most 63 characters"
        )


def _write(name: str, arguments: argparse.Namespace, images: Images, steps: Steps) -> list[tuple[Path, str]]:
    """Write the files of a workload. Return their paths and versions."""
    fixed = fixed_from_arguments(arguments)
    compiled = compile_workload(name, images, steps, fixed)
    files = {f"{name}.yaml": compiled.text}
    if arguments.kubernetes_manifest:
        files[f"{name}.manifest.yaml"] = compile_manifest(
            name, images, arguments.namespace, steps, fixed
        ).text
    for filename, text in files.items():
        write_text(arguments.output / filename, text)
    return [(arguments.output / filename, compiled.version) for filename in files]


def _report_next_commands(workload: str, has_manifest: bool) -> None:
    python = interpreter()
    report(f"upload:  {python} -m pipelines.upload --host URL, or Upload pipeline in the Kubeflow UI")
    if has_manifest:
        report("apply:   kubectl apply -f NAME.manifest.yaml, if pipelines are stored as Kubernetes objects")
    report(f"run:     {python} -m pipelines.run --workload {workload}")


if __name__ == "__main__":
    sys.exit(main())
