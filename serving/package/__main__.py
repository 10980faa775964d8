"""Build an image with the model server and one archive, which `docker run` alone serves.

    python -m serving.package --model NAME[@ALIAS] [--tag REPOSITORY/NAME[:TAG]]
    python -m serving.package --archive FILE.mar [--tag REPOSITORY/NAME[:TAG]]

The archive is verified, and the image is started once without network, before it gets its tags. The names of
the image are printed. docs/package.md describes the image.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from continuous_training.adapters.docker_cli import run_docker
from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.messages import report
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.core.settings import Settings

from .archive import PackageArchive, archive_of_file, archive_of_model
from .build import PORT, build_image
from .image_name import image_name
from .labels import package_labels
from .serving_image import ServingImage
from .verification import verify_image


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _run(arguments), "interrupted: the image has no new tag")


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
    parser.add_argument(
        "--serving-image",
        metavar="IMAGE",
        help="the image of the model server (default: CT_SERVING_IMAGE)",
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.archive and arguments.model_store:
        raise UserError("--model-store is for --model; omit it, or omit --archive")
    server = arguments.serving_image or ServingSettings.from_environment(os.environ).image
    if not server:
        raise UserError(
            "the image of the model server is not set: pass --serving-image IMAGE or set CT_SERVING_IMAGE; "
            "make images builds it (docs/images.md)"
        )
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        archive = _archive(arguments, Path(folder))
        version = archive.digest[:12]
        names = [image_name(name, version) for name in arguments.tag or [archive.manifest.name.lower()]]
        image = ServingImage.open(server)
        labels = package_labels(archive.manifest, archive.digest, archive.run, image)
        built = build_image(archive.path, image, labels)
    verify_image(built)
    for name in names:
        run_docker(["tag", built, name], f"the image {built} could not be tagged as {name}")
        print(name)
    report(f"next: docker run --rm -p {PORT}:{PORT} {names[0]}")
    return 0


def _archive(arguments: argparse.Namespace, folder: Path) -> PackageArchive:
    if arguments.archive:
        return archive_of_file(arguments.archive, folder)
    store = arguments.model_store or Settings.from_environment(os.environ).store
    return archive_of_model(store, arguments.model, folder)


if __name__ == "__main__":
    sys.exit(main())
