"""Build an image with the model server and one archive, which `docker run` alone serves.

    python -m serving.package --model NAME[@ALIAS] [--tag REPOSITORY/NAME[:TAG]] [--push]
    python -m serving.package --archive FILE.mar [--tag REPOSITORY/NAME[:TAG]] [--push]

The archive is verified, and the image is started once without network, before it gets its tags. The names of
the image are printed. The same archive and the same base image result in the same image. docs/package.md
describes the image, and the image that --format kserve-oci builds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from continuous_training.adapters.docker_cli import run_docker
from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.files import to_json, write_text
from continuous_training.core.messages import report
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.core.settings import Settings

from .archive import PackageArchive, archive_of_file, archive_of_model
from .base_image import BaseImage, open_serving_image
from .build import PORT, BuiltImage, build_model_image, build_server_image
from .image_name import image_name
from .push import push_names
from .verification import verify_image, verify_model_image

SERVER, KSERVE = "server", "kserve-oci"
"""The values of --format."""

DEFAULT_BASE = "busybox:1.37.0"
DEFAULT_DIGESTS = Path("build/package.json")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(
        lambda: _run(arguments), "interrupted: the image was not tagged and pushed under all of its names"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.package",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model",
        metavar="NAME[@ALIAS]",
        help="a model in the object store (default: its champion)",
    )
    source.add_argument("--archive", type=Path, metavar="FILE.mar", help="an archive in a file")
    parser.add_argument(
        "--model-store",
        metavar="STORE",
        help="the object store (default: CT_STORE, or the store of the state directory)",
    )
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="NAME[:TAG]",
        help="the name of the image; repeat it for more names (default: the model's name, and as the tag the "
        "first twelve digits of the archive's digest)",
    )
    _add_image_options(parser)
    return parser


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=(SERVER, KSERVE),
        default=SERVER,
        help=f"{SERVER}: the model server and the archive (default); {KSERVE}: only the archive, in /models, "
        "for the oci:// storage of KServe",
    )
    parser.add_argument(
        "--serving-image",
        metavar="IMAGE",
        help="the image of the model server (default: CT_SERVING_IMAGE)",
    )
    parser.add_argument(
        "--base-image",
        metavar="IMAGE",
        help=f"the image that --format {KSERVE} extends, with a shell (default: {DEFAULT_BASE})",
    )
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write the bill of materials (CycloneDX)")
    parser.add_argument(
        "--push", action="store_true", help="push each name, and check that the digests are equal"
    )
    parser.add_argument(
        "--digests",
        type=Path,
        default=DEFAULT_DIGESTS,
        metavar="FILE",
        help="file for the digests of --push (default: %(default)s)",
    )


def _run(arguments: argparse.Namespace) -> int:
    _check_options(arguments)
    base = _base_image_name(arguments)
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        archive = _archive(arguments, Path(folder))
        default = archive.manifest.name.lower() + ("-model" if arguments.format == KSERVE else "")
        names = [image_name(name, archive.digest[:12]) for name in arguments.tag or [default]]
        image = (_model_image if arguments.format == KSERVE else _server_image)(archive, base, Path(folder))
    for name in names:
        run_docker(["tag", image.id, name], f"the image {image.id} could not be tagged as {name}")
    if arguments.sbom:
        write_text(arguments.sbom, image.sbom)
    if arguments.push:
        _push(names, arguments.digests)
        return 0
    print(*names, sep="\n")
    run = f"run --rm -p {PORT}:{PORT}" if arguments.format == SERVER else "push"
    report(f"next: docker {run} {names[0]}")
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise UserError for options that do not go together."""
    if arguments.archive and arguments.model_store:
        raise UserError("--model-store is for --model; omit it, or omit --archive")
    if arguments.format == SERVER and arguments.base_image:
        raise UserError(f"--base-image is for --format {KSERVE}; omit it, or pass --serving-image")
    if arguments.format == KSERVE and arguments.serving_image:
        raise UserError(f"--serving-image is for --format {SERVER}; omit it, or pass --base-image")
    if arguments.push and not arguments.tag:
        raise UserError("--push needs the name of the image in a registry: pass --tag HOST/PATH/NAME")


def _base_image_name(arguments: argparse.Namespace) -> str:
    """Return the name of the image that the package extends. Raises UserError if it is not set."""
    if arguments.format == KSERVE:
        return str(arguments.base_image or DEFAULT_BASE)
    name = arguments.serving_image or ServingSettings.from_environment(os.environ).image
    if not name:
        raise UserError(
            "the image of the model server is not set: pass --serving-image IMAGE or set CT_SERVING_IMAGE; "
            "make images builds it (docs/images.md)"
        )
    return str(name)


def _server_image(archive: PackageArchive, base: str, folder: Path) -> BuiltImage:
    image = build_server_image(archive, open_serving_image(base), folder)
    verify_image(image.id)
    return image


def _model_image(archive: PackageArchive, base: str, folder: Path) -> BuiltImage:
    failure = f"the image {base} cannot be pulled; see the output of Docker above, or pass --base-image"
    image = build_model_image(archive, BaseImage.open(base, failure), folder)
    verify_model_image(image.id)
    return image


def _push(names: Sequence[str], digests_file: Path) -> None:
    digests = push_names(names)
    write_text(digests_file, to_json(digests))
    for name, digest in digests.items():
        print(f"{name}  {digest}")


def _archive(arguments: argparse.Namespace, folder: Path) -> PackageArchive:
    if arguments.archive:
        return archive_of_file(arguments.archive, folder)
    store = arguments.model_store or Settings.from_environment(os.environ).store
    return archive_of_model(store, arguments.model, folder)


if __name__ == "__main__":
    sys.exit(main())
