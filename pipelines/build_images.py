"""Builds the steps' images and the model server's, and pushes them: `python -m pipelines.build_images`.

Writes the digests that the registry knows them by to a file that pipelines.compile --digests takes.
What follows `--` goes to docker build: `-- --platform linux/amd64 --build-arg BASE=IMAGE`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from components.step_cli import interpreter
from continuous_training.core.command import ItemProgress, run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.files import to_json, write_text
from continuous_training.core.messages import report

from .images import Images, check_registry, check_tag, default_tag

ROOT = Path(__file__).parents[1]
STDERR = 2
"""The file descriptor that takes what Docker prints: it is progress, and not a result."""

TARGETS = ("serving", "notify", "archive", "prep-data", "evaluate", "deploy-serving", "train", "train-torch")
"""The Dockerfile's targets; the one with torch last, as it is the largest by far."""

DEFAULT_OUTPUT = Path("build/images.json")
SOURCES = (
    *("components", "continuous_training", "serving", "workloads"),
    *("constraints.txt", "pyproject.toml", "setup.cfg", "LICENSE", "NOTICE"),
)
"""What images are made of: a commit that touches none of it leaves them as they are."""


def build(name: str, target: str, labels: dict[str, str], options: Sequence[str] = ()) -> None:
    """Build a target as the image `name`; UserError when that fails, with Docker's words above it."""
    labelled = [f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()]
    command = ["build", "--file", "components/Dockerfile", "--target", target, "--tag", name, *labelled]
    _docker([*command, *options, "."], f"building {target} failed; Docker says why above")


def push(name: str) -> None:
    """Push an image; UserError when its registry refuses."""
    host = name.partition("/")[0]
    _docker(["push", name], f"pushing {name} failed; Docker says why above. Logged in? docker login {host}")


def pushed_digest(name: str) -> str | None:
    """Return the digest by which the image's registry knows it, or None when it was not pushed from here."""
    repository = name.rpartition(":")[0]
    known = json.loads(_inspect(name, "{{json .RepoDigests}}") or "null") or []
    return next((one.partition("@")[2] for one in known if one.startswith(f"{repository}@")), None)


def labels() -> dict[str, str]:
    """Return the OCI labels that change: the project's version and, where git knows it, the revision."""
    revision = _git("log", "-1", "--format=%H", "--", *SOURCES)
    if revision and _git("status", "--porcelain", "--", *SOURCES):
        revision += "-modified"
    return {"version": default_tag()} | ({"revision": revision} if revision else {})


def _docker(arguments: Sequence[str], failure: str) -> None:
    try:
        done = subprocess.run(["docker", *arguments], cwd=ROOT, check=False, stdout=STDERR)
    except FileNotFoundError:
        raise UserError("there is no docker command here: install Docker, or run this where it is") from None
    if done.returncode:
        raise UserError(failure)


def _inspect(name: str, form: str) -> str:
    """Return a fact of an image, or nothing when there is no such image."""
    command = ["docker", "image", "inspect", "--format", form, name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _git(*arguments: str) -> str:
    """Return what git says, or nothing where there is no git or no repository."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    except FileNotFoundError:
        return ""


def main(argv: list[str] | None = None) -> int:
    """Build, push and write the digests; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.build_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--registry", required=True, metavar="HOST/PATH", help="where the images go")
    parser.add_argument("--tag", default="", help="default: the project's version")
    parser.add_argument(
        "--images", nargs="+", default=TARGETS, choices=TARGETS, metavar="NAME", help="default: all of them"
    )
    parser.add_argument("--no-push", action="store_true", help="build them only")
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="FILE",
        help="the digests; default: %(default)s",
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="options of docker build")
    arguments = parser.parse_args(argv)
    progress = ItemProgress("built" if arguments.no_push else "built and pushed")

    def work() -> int:
        images = Images(check_registry(arguments.registry), check_tag(arguments.tag) or default_tag())
        _make(images, arguments, progress)
        return DONE

    return run_command(work, progress.interruption)


def _make(images: Images, arguments: argparse.Namespace, progress: ItemProgress) -> None:
    stamped = labels()
    progress.start(arguments.images)
    for target in arguments.images:
        report(f"== {images.of(target)}")
        build(images.of(target), target, stamped, arguments.options)
        if not arguments.no_push:
            push(images.of(target))
        progress.finish(target)
    for target in arguments.images:
        megabytes = int(_inspect(images.of(target), "{{.Size}}")) / 1e6
        print(f"{images.of(target)}  {megabytes:.0f} MB  {pushed_digest(images.of(target)) or 'not pushed'}")
    if arguments.no_push:
        return
    # Those that an earlier call pushed under the same tag belong to the set, too.
    digests = {target: pushed_digest(images.of(target)) for target in TARGETS}
    write_text(arguments.output, to_json({target: digest for target, digest in digests.items() if digest}))
    pinned = f"--registry {images.registry} --tag {images.tag} --digests {arguments.output}"
    print(f"{arguments.output} has the digests")
    report(f"next: {interpreter()} -m pipelines.compile {pinned}")


if __name__ == "__main__":
    sys.exit(main())
