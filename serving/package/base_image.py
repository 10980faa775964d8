"""The image that a package extends: the model server's, or a small one with a shell."""

from __future__ import annotations

import json
from dataclasses import dataclass

from continuous_training.adapters.docker_cli import inspect_image, pull_missing_image
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject

OCI = "org.opencontainers.image."
"""The prefix of the standard labels: https://github.com/opencontainers/image-spec/blob/main/annotations.md."""


@dataclass(frozen=True)
class BaseImage:
    """An image of the local Docker engine: its name, and its digest in a registry, empty if it has none."""

    name: str
    digest: str

    @classmethod
    def open(cls, name: str, failure: str) -> BaseImage:
        """Read the image, and pull it first if this machine does not have it.

        Raises UserError with the message `failure` if it cannot be pulled.
        """
        pull_missing_image(name, failure)
        digests = _inspect(name).text_list("RepoDigests", []) or ("",)
        return cls(name, digests[0].partition("@")[2])


def open_serving_image(name: str) -> BaseImage:
    """Return the image of the model server. Raises UserError for another image and if it cannot be pulled."""
    image = BaseImage.open(
        name,
        f"the image of the model server, {name}, cannot be pulled; see the output of Docker above. "
        "make images builds it (docs/images.md)",
    )
    title = _inspect(name).nested("Config").texts("Labels", {}).get(f"{OCI}title")
    if title != "serving":
        raise UserError(
            f"{name} is not an image of the model server: its label {OCI}title is {json.dumps(title)}; "
            "pass the image `serving` of make images"
        )
    return image


def _inspect(name: str) -> JsonObject:
    return JsonObject.parse(inspect_image(name, "{{json .}}"), name)
