"""Compiles workloads to pipeline files: `python -m pipelines.compile`.

Each NAME.yaml is what the Kubeflow UI takes under Pipelines, Upload pipeline; the local run executes the
same file. The version of a pipeline is the digest of its file.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from components.step_cli import interpreter
from continuous_training.core.errors import PipelineError, UserError, as_pipeline_error
from continuous_training.core.files import write_text
from continuous_training.core.messages import report
from continuous_training.kubeflow.upload import Compiled
from workloads import discovery

from .images import Images, add_image_arguments, images_of
from .steps import DEFAULTS, Steps, add_steps_argument, steps_of

DEFAULT_OUTPUT = Path("build/pipelines")


def compile_workload(name: str, images: Images, steps: Steps = DEFAULTS) -> Compiled:
    """Return the workload's pipeline as IR YAML, the same text every time."""
    return Compiled(name, _compile(name, images, steps, None))


def compile_manifest(
    name: str, images: Images, namespace: str | None = None, steps: Steps = DEFAULTS
) -> Compiled:
    """Return the native `Pipeline` and `PipelineVersion` objects, named after the pipeline's content."""
    version = compile_workload(name, images, steps).version
    return Compiled(name, _compile(name, images, steps, (version, namespace)))


def _compile(name: str, images: Images, steps: Steps, manifest: tuple[str, str | None] | None) -> str:
    from kfp import compiler

    from .pipeline import build

    options = None
    if manifest:
        options = compiler.KubernetesManifestOptions(
            pipeline_name=name,
            pipeline_version_name=manifest[0],
            namespace=manifest[1],
            include_pipeline_manifest=True,
        )
    with tempfile.TemporaryDirectory(prefix="compile-") as folder:
        path = Path(folder) / f"{name}.yaml"
        compiler.Compiler().compile(
            build(discovery.get(name), images, steps),
            str(path),
            kubernetes_manifest_format=manifest is not None,
            kubernetes_manifest_options=options,
        )
        return path.read_text(encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Compile what is asked for, or everything; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compile", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--workload", nargs="+", action="extend", metavar="NAME", help="default: every registered one"
    )
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR", help="default: %(default)s"
    )
    add_image_arguments(parser)
    add_steps_argument(parser)
    parser.add_argument(
        "--kubernetes-manifest",
        action="store_true",
        help="write NAME.manifest.yaml too: the native Pipeline and PipelineVersion objects",
    )
    parser.add_argument("--namespace", help="namespace of the native objects")
    arguments = parser.parse_args(argv)
    try:
        if arguments.namespace and not arguments.kubernetes_manifest:
            raise UserError("--namespace is of the native objects only: add --kubernetes-manifest")
        if arguments.namespace and not re.fullmatch(
            r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", arguments.namespace
        ):
            raise UserError(f"--namespace {arguments.namespace!r}: small letters, digits and '-', at most 63")
        images, steps = images_of(arguments), steps_of(arguments)
        names, broken = discovery.sound(arguments.workload)
        written = _write(names, arguments, images, steps)
    except (PipelineError, OSError) as error:
        understood = as_pipeline_error(error)
        report(f"error: {understood}")
        return understood.exit_code
    for path, version in written:
        print(f"{path}  version {version}")
    for name, why in broken.items():
        report(f"broken: {name}: {why}")
    python = interpreter()
    if written:
        report(f"upload:  {python} -m pipelines.upload --host URL, or Upload pipeline in the Kubeflow UI")
        if arguments.kubernetes_manifest:
            report(
                "apply:   kubectl apply -f NAME.manifest.yaml, where pipelines are kept as Kubernetes objects"
            )
        report(f"try it:  {python} -m pipelines.run --workload {written[0][0].stem}")
    return UserError.exit_code if broken else 0


def _write(
    names: list[str], arguments: argparse.Namespace, images: Images, steps: Steps
) -> list[tuple[Path, str]]:
    """Write the files; returns them with their versions."""
    written: list[tuple[Path, str]] = []
    for name in names:
        compiled = compile_workload(name, images, steps)
        path = arguments.output / f"{name}.yaml"
        write_text(path, compiled.text)
        written.append((path, compiled.version))
        if arguments.kubernetes_manifest:
            native = compile_manifest(name, images, arguments.namespace, steps)
            write_text(arguments.output / f"{name}.manifest.yaml", native.text)
            written.append((arguments.output / f"{name}.manifest.yaml", compiled.version))
    return written


if __name__ == "__main__":
    sys.exit(main())
