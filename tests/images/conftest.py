"""The images as this checkout builds them, with the Docker engine that there is; without one, a skip."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from pipelines import build_images
from pipelines.images import Images

BASE = "python:3.11-slim-bookworm"
TORCH_FREE = [target for target in build_images.TARGETS if target != "train-torch"]

HARDENED = {
    "read_only": True,
    "tmpfs": {"/tmp": "mode=1777"},  # noqa: S108
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
"""What Pod Security `restricted` leaves a step: the image's own user, and nothing to write to but /tmp."""


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of a Docker engine that has the base image, or can get it."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException:
        pytest.skip("there is no Docker engine: https://docs.docker.com/engine/install")
    try:
        client.images.get(BASE)
    except ImageNotFound:
        try:
            client.images.pull(BASE)
        except DockerException:
            pytest.skip(f"Docker has no base image: docker pull {BASE}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def names() -> Images:
    """The images' names, of `make images` where CT_TEST_REGISTRY and CT_TEST_TAG say so."""
    registry = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
    return Images(registry, os.environ.get("CT_TEST_TAG", "test"))


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient, names: Images) -> Images:
    """The images without torch, built; what did not change comes from Docker's cache."""
    make(names, *TORCH_FREE, "--no-push")
    return names


def make(names: Images, *arguments: str) -> None:
    """Run `python -m pipelines.build_images` for some targets, with further arguments."""
    where = ["--registry", names.registry, "--tag", names.tag]
    assert build_images.main([*where, "--images", *arguments, "--", "--network", "host"]) == 0
