"""The image of the model server that a package extends."""

from __future__ import annotations

import json
from dataclasses import dataclass

from continuous_training.adapters.docker_cli import inspect_image, run_docker
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject

OCI = "org.opencontainers.image."
"""The prefix of the standard labels: https://github.com/opencontainers/image-spec/blob/main/annotations.md."""


@dataclass(frozen=True)
class ServingImage:
    """An image of the model server: its name, and its digest in a registry, empty if it has none."""

    name: str
    digest: str

    @classmethod
    def open(cls, name: str) -> ServingImage:
        """Read the image, and pull it first if this machine does not have it.

        Raises UserError if it cannot be pulled, or if it is not an image of the model server.
        """
        if not inspect_image(name, "{{.Id}}"):
            run_docker(
                ["pull", name],
                f"the image of the model server, {name}, cannot be pulled; see the output of Docker above. "
                "make images builds it (docs/images.md)",
            )
        document = JsonObject.parse(inspect_image(name, "{{json .}}"), name)
        labels = document.nested("Config").texts("Labels", {})
        if labels.get(f"{OCI}title") != "serving":
            raise UserError(
                f"{name} is not an image of the model server: its label {OCI}title is "
                f"{json.dumps(labels.get(f'{OCI}title'))}; pass the image `serving` of make images"
            )
        digests = document.text_list("RepoDigests", []) or ("",)
        return cls(name, digests[0].partition("@")[2])
