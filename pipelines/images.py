"""Names of the images of the steps, pinned by tag or digest."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.object_names import DISTRIBUTION, STEP_NAMES


@dataclass(frozen=True)
class Images:
    """The image of each component: `REGISTRY/COMPONENT@DIGEST` if its digest is known, else with the tag."""

    registry: str = DISTRIBUTION
    tag: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def of(self, component: str) -> str:
        """Return the image of a component."""
        digest = self.digests.get(component)
        if digest:
            return f"{self.registry}/{component}@{digest}"
        return f"{self.registry}/{component}:{self.tag or default_tag()}"


def default_tag() -> str:
    """Return the version of this project, which is the default tag of `make images`."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        raise UserError(
            f"{DISTRIBUTION} is not installed, so its version is unknown: run make install"
        ) from None


def validate_tag(tag: str) -> str:
    """Return the tag. Raises UserError for `latest`, and for a tag that Docker rejects."""
    if tag == "latest":
        raise UserError("--tag latest: the image could change after the pipeline is compiled; use a commit")
    if tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
        raise UserError(
            f"--tag {tag!r} is not a valid tag: use at most 128 letters, digits, '_', '.' and '-'"
        )
    return tag


def read_digests(path: Path | None) -> dict[str, str]:
    """Read `{"train": "sha256:...", ...}` from a JSON file. Raises UserError for other content."""
    if path is None:
        return {}
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--digests {path}: cannot be read as JSON: {error}") from None
    if not isinstance(digests, dict) or not all(map(_is_digest, digests.values())):
        raise UserError(f'--digests {path}: the form must be {{"train": "sha256:<64 hex digits>", ...}}')
    for name in digests:
        if name not in STEP_NAMES and not name.startswith("train-") and name != "serving":
            raise UserError(
                f"--digests {path}: unknown component {name!r}; the components are {', '.join(STEP_NAMES)}"
            )
    return digests


def _is_digest(value: object) -> bool:
    return re.fullmatch(r"sha256:[0-9a-f]{64}", str(value)) is not None


def validate_registry(registry: str) -> str:
    """Return the registry without a slash at its end. Raises UserError for a name that Docker rejects."""
    host = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
    part = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
    name = registry.rstrip("/")
    if not re.fullmatch(rf"{part}(/{part})*|{host}(/{part})*", name):
        raise UserError(
            f"--registry {registry!r} is not valid: use HOST[:PORT][/PATH] without http://, "
            "and a path in lower case"
        )
    return name


def add_image_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --registry, --tag and --digests."""
    parser.add_argument(
        "--registry", default=DISTRIBUTION, help="registry of the images; default: %(default)s"
    )
    parser.add_argument("--tag", default="", help="tag of the images; default: the version of the project")
    parser.add_argument(
        "--digests", type=Path, metavar="FILE", help="JSON file that maps components to sha256 digests"
    )


def cluster_images_from_arguments(arguments: argparse.Namespace) -> Images:
    """Return the images that the arguments select. Raises UserError if no registry is selected."""
    images = images_from_arguments(arguments)
    if images.registry == DISTRIBUTION:
        raise UserError(
            f"the images have no registry, so a cluster cannot pull {images.of('train')}: pass --registry "
            "with the registry to which make images pushed them (docs/images.md)"
        )
    return images


def images_from_arguments(arguments: argparse.Namespace) -> Images:
    """Return the images that the arguments select. Raises UserError for an invalid value."""
    return Images(
        validate_registry(arguments.registry), validate_tag(arguments.tag), read_digests(arguments.digests)
    )
