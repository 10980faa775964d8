"""Names of the images that the steps run in, pinned by tag or digest."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.object_names import DISTRIBUTION

from .steps import STEPS


@dataclass(frozen=True)
class Images:
    """Where each component's image is: `REGISTRY/COMPONENT:TAG`, or by digest where one is known."""

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
    """Return this project's version, the tag that `make images` gives by default."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        raise UserError(f"{DISTRIBUTION} is not installed, so its version is unknown: make install") from None


def check_tag(tag: str) -> str:
    """Return the tag; UserError for one that Docker would refuse, or that moves."""
    if tag == "latest":
        raise UserError("--tag latest: an image that may change under a pipeline is no pin; use a commit")
    if tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
        raise UserError(f"--tag {tag!r} is not a tag: letters, digits, '_', '.' and '-', at most 128")
    return tag


def read_digests(path: Path | None) -> dict[str, str]:
    """Read `{"train": "sha256:...", ...}` from a JSON file; UserError when it is anything else."""
    if path is None:
        return {}
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--digests {path}: cannot be read as JSON: {error}") from None
    wrong = not isinstance(digests, dict) or any(
        not re.fullmatch(r"sha256:[0-9a-f]{64}", str(digest)) for digest in digests.values()
    )
    if wrong:
        raise UserError(f'--digests {path}: is not of the form {{"train": "sha256:<64 hex digits>", ...}}')
    for name in digests:
        if name not in STEPS and not name.startswith("train-") and name != "serving":
            raise UserError(f"--digests {path}: there is no component {name!r}; they are {', '.join(STEPS)}")
    return digests


def check_registry(registry: str) -> str:
    """Return the registry without its last slash; UserError for one that Docker would refuse."""
    host = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
    part = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
    name = registry.rstrip("/")
    if not re.fullmatch(rf"{part}(/{part})*|{host}(/{part})*", name):
        raise UserError(
            f"--registry {registry!r} is none: HOST[:PORT][/PATH] without http://, the path in small letters"
        )
    return name


def add_image_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --registry, --tag and --digests."""
    parser.add_argument("--registry", default=DISTRIBUTION, help="where the images are; default: %(default)s")
    parser.add_argument("--tag", default="", help="the images' tag; default: the project's version")
    parser.add_argument("--digests", type=Path, metavar="FILE", help="JSON of component to sha256 digest")


def images_of(arguments: argparse.Namespace) -> Images:
    """Return the images that the arguments name; UserError for a tag or a file that is none."""
    return Images(
        check_registry(arguments.registry), check_tag(arguments.tag), read_digests(arguments.digests)
    )
