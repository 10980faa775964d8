"""Publish the images that were built for several architectures: `python -m pipelines.publish_images VERB`.

join    create REGISTRY/NAME:TAG from REGISTRY/NAME:TAG-ARCHITECTURE, in each registry, and write the digests
scan    fail if an image has a vulnerability of high or critical severity that an update fixes (needs grype)
sbom    write the software bill of materials of each image (needs syft)
sign    sign each image and its bill of materials, without a key in CI (needs cosign)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from continuous_training.core.command import ItemProgress, run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.core.files import to_json, write_text
from continuous_training.core.messages import report

from .build_images import DEFAULT_OUTPUT, TARGETS
from .images import Images, read_digests, validate_registry, validate_tag

STDERR = 2
"""The file descriptor for the output of the tools, because it is progress and not a result."""

SBOM_FOLDER = Path("build/sbom")
CHECKSUMS = "images.sha256"
"""Digest and name of each image, next to the digests: the subjects of a provenance attestation."""


def join(registries: Sequence[str], name: str, tag: str, architectures: Sequence[str]) -> str:
    """Create the image of all architectures in each registry, and return its digest.

    The images of the architectures are in the first registry.
    """
    source = f"{registries[0]}/{name}:{tag}"
    tags = [word for registry in registries for word in ("--tag", f"{registry}/{name}:{tag}")]
    sources = [f"{source}-{architecture}" for architecture in architectures]
    _run("docker", "buildx", "imagetools", "create", *tags, *sources)
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", source]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    try:
        return str(json.loads(output)["digest"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"the digest of {source} cannot be read: log in to its registry") from None


def scan(image: str) -> None:
    """Raise UserError if the image has a severe vulnerability that an update fixes."""
    _run("grype", f"registry:{image}", "--only-fixed", "--fail-on", "high")


def write_sbom(image: str, name: str) -> None:
    """Write the packages of the image as SPDX JSON."""
    SBOM_FOLDER.mkdir(parents=True, exist_ok=True)
    _run("syft", f"registry:{image}", "--output", f"spdx-json={sbom_path(name)}")


def sign(image: str, name: str) -> None:
    """Sign the image and attest its bill of materials. Raises UserError without the latter."""
    path = sbom_path(name)
    if not path.is_file():
        raise UserError(f"{path} does not exist: run the command with the verb sbom first")
    _run("cosign", "sign", "--yes", image)
    _run("cosign", "attest", "--yes", "--type", "spdxjson", "--predicate", str(path), image)


def sbom_path(name: str) -> Path:
    """Return the file of an image's bill of materials."""
    return SBOM_FOLDER / f"{name}.spdx.json"


def _run(*command: str) -> None:
    try:
        process = subprocess.run(command, check=False, stdout=STDERR)
    except FileNotFoundError:
        raise UserError(f"the {command[0]} command was not found: install it (docs/ci.md)") from None
    if process.returncode:
        raise UserError(
            f"{' '.join(command)} failed with exit code {process.returncode}; see its output above"
        )


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.publish_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=("join", "scan", "sbom", "sign"), metavar="VERB")
    parser.add_argument(
        "--registry",
        required=True,
        nargs="+",
        metavar="HOST/PATH",
        help="registries; the first has the images",
    )
    parser.add_argument("--tag", required=True)
    parser.add_argument("--images", nargs="+", default=TARGETS, choices=TARGETS, metavar="NAME")
    parser.add_argument("--architectures", nargs="+", default=("amd64", "arm64"), metavar="NAME")
    parser.add_argument(
        "--digests", type=Path, default=DEFAULT_OUTPUT, metavar="FILE", help="default: %(default)s"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Execute a verb for each image. Return the exit code."""
    arguments = create_parser().parse_args(argv)
    progress = ItemProgress("done")
    return run_command(lambda: _execute(arguments, progress), progress.interruption)


def _execute(arguments: argparse.Namespace, progress: ItemProgress) -> int:
    registries = [validate_registry(name) for name in arguments.registry]
    tag = validate_tag(arguments.tag)
    if arguments.verb == "join":
        _join_images(registries, tag, arguments, progress)
        return DONE
    digests = read_digests(arguments.digests)
    unknown = [name for name in arguments.images if name not in digests]
    if unknown:
        raise UserError(
            f"{arguments.digests} has no digest of {', '.join(unknown)}: pass --images or join them"
        )
    progress.start(arguments.images)
    for name in arguments.images:
        for image in _references(registries, tag, name, digests, arguments.verb):
            report(f"== {arguments.verb} {image}")
            if arguments.verb == "scan":
                scan(image)
            elif arguments.verb == "sbom":
                write_sbom(image, name)
            else:
                sign(image, name)
        print(f"{name}: {arguments.verb} done")
        progress.finish(name)
    return DONE


def _references(
    registries: Sequence[str], tag: str, name: str, digests: dict[str, str], verb: str
) -> Iterator[str]:
    """Yield the image by digest: in each registry to sign it, else in the first, as the content is equal."""
    for registry in registries if verb == "sign" else registries[:1]:
        yield Images(registry, tag, digests).of(name)


def _join_images(
    registries: Sequence[str], tag: str, arguments: argparse.Namespace, progress: ItemProgress
) -> None:
    progress.start(arguments.images)
    digests: dict[str, str] = {}
    for name in arguments.images:
        digests[name] = join(registries, name, tag, arguments.architectures)
        write_text(arguments.digests, to_json(digests))
        lines = [
            f"{digest.partition(':')[2]}  {registries[0]}/{image}\n" for image, digest in digests.items()
        ]
        write_text(arguments.digests.with_name(CHECKSUMS), "".join(lines))
        print(f"{registries[0]}/{name}:{tag}  {digests[name]}")
        progress.finish(name)


if __name__ == "__main__":
    sys.exit(main())
