"""Build and push the images of the steps and of the model server: `python -m pipelines.build_images`.

After each push, writes the digests of the pushed images to a file for pipelines.compile --digests.
Arguments after `--` are passed to docker build: `-- --platform linux/amd64 --build-arg BASE=IMAGE`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from components.step_cli import interpreter
from components.train_image import train_image
from continuous_training.adapters.docker_cli import inspect_image, push_image, pushed_digest, run_docker
from continuous_training.core.command import ItemProgress, run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.files import to_json, write_text
from continuous_training.core.messages import report
from workloads import discovery

from .images import Images, default_tag, validate_registry, validate_tag

ROOT = Path(__file__).parents[1]
TARGETS = ("serving", "notify", "archive", "prep-data", "evaluate", "deploy-serving", "train", "train-torch")
"""The targets of the Dockerfile. The target with torch is the last, because it is by far the largest."""

DEFAULT_OUTPUT = Path("build/images.json")
SOURCES = (
    *("components", "continuous_training", "serving", "workloads"),
    *("constraints.txt", "pyproject.toml", "setup.cfg", "LICENSE", "NOTICE"),
)
"""The files in the images. A commit that changes none of them does not change the images."""


def build(name: str, target: str, labels: dict[str, str], options: Sequence[str] = ()) -> None:
    """Build a target as the image `name`. Raises UserError if Docker fails."""
    label_options = [f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()]
    command = ["build", "--file", "components/Dockerfile", "--target", target, "--tag", name]
    run_docker(
        [*command, *label_options, *options, "."],
        f"the build of {target} failed; see the output of Docker above",
        ROOT,
    )


def image_labels() -> dict[str, str]:
    """Return the OCI labels that change: the version of the project and, in a git checkout, the revision."""
    revision = _git("log", "-1", "--format=%H", "--", *SOURCES)
    if revision and _git("status", "--porcelain", "--", *SOURCES):
        revision += "-modified"
    return {"version": default_tag()} | ({"revision": revision} if revision else {})


def _git(*arguments: str) -> str:
    """Return the output of git, or an empty string without git or a repository."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    except FileNotFoundError:
        return ""


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.build_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--registry", required=True, metavar="HOST/PATH", help="registry to push to")
    parser.add_argument("--tag", default="", help="default: the version of the project")
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument(
        "--images", nargs="+", default=TARGETS, choices=TARGETS, metavar="NAME", help="default: all images"
    )
    selection.add_argument(
        "--workloads", nargs="+", metavar="NAME", help="only the images that these workloads use"
    )
    parser.add_argument("--no-push", action="store_true", help="build without a push")
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="FILE",
        help="file for the digests; default: %(default)s",
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="options of docker build")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Build and push the images, and write their digests. Returns the exit code."""
    arguments = create_parser().parse_args(argv)
    progress = ItemProgress("built" if arguments.no_push else "built and pushed")
    return run_command(lambda: _run(arguments, progress), progress.interruption)


def _run(arguments: argparse.Namespace, progress: ItemProgress) -> int:
    images = Images(validate_registry(arguments.registry), validate_tag(arguments.tag) or default_tag())
    targets = targets_of(arguments.workloads) if arguments.workloads else arguments.images
    progress.start(targets)
    try:
        _build_and_push(images, arguments, progress)
    except UserError as error:
        if arguments.no_push or not progress.finished:
            raise
        raise UserError(
            f"{error}\n{arguments.output} contains the digests of {', '.join(progress.finished)}. To build "
            f"the others, run the command with --images {' '.join(progress.pending)}"
        ) from None
    _print_images(images, targets)
    if not arguments.no_push:
        print(f"{arguments.output} contains the digests")
        options = f"--registry {images.registry} --tag {images.tag} --digests {arguments.output}"
        report(f"next: {interpreter()} -m pipelines.compile {options}")
    return DONE


def targets_of(workloads: Sequence[str]) -> tuple[str, ...]:
    """Return the targets of the images that the workloads use. Raises UserError for an unknown workload."""
    training = {train_image(discovery.get(name).extras) for name in workloads}
    return tuple(target for target in TARGETS if not target.startswith("train") or target in training)


def _build_and_push(images: Images, arguments: argparse.Namespace, progress: ItemProgress) -> None:
    labels = image_labels()
    for target in tuple(progress.pending):
        name = images.of(target)
        report(f"== {name}")
        build(name, target, labels, arguments.options)
        if not arguments.no_push:
            push_image(name)
            # A later failure does not lose the digests of the images that were pushed before.
            _write_digests(images, arguments.output)
        progress.finish(target)


def _print_images(images: Images, targets: Sequence[str]) -> None:
    for target in targets:
        name = images.of(target)
        megabytes = int(inspect_image(name, "{{.Size}}")) / 1e6
        print(f"{name}  {megabytes:.0f} MB  {pushed_digest(name) or 'not pushed'}")


def _write_digests(images: Images, output: Path) -> None:
    # The file also lists the images that an earlier call pushed with the same tag.
    digests = {target: pushed_digest(images.of(target)) for target in TARGETS}
    write_text(output, to_json({target: digest for target, digest in digests.items() if digest}))


if __name__ == "__main__":
    sys.exit(main())
