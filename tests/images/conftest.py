"""The images of this checkout, built with the local Docker engine. The tests are skipped without one."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from continuous_training.artifacts.archive_writer import Archive
from pipelines import build_images
from pipelines.images import Images

from .image_registry import remove_tags
from .packages import make_toy_archive

BASE = "python:3.11-slim-bookworm"
TORCH_FREE = [target for target in build_images.TARGETS if target != "train-torch"]

HARDENED = {
    "read_only": True,
    "tmpfs": {"/tmp": "mode=1777"},  # noqa: S108
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
"""Container options like Pod Security `restricted`: the user of the image, and only /tmp is writable."""


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of a Docker engine that has the base image or can pull it."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException:
        pytest.skip("no Docker engine is available: https://docs.docker.com/engine/install")
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
    """The names of the images. CT_TEST_REGISTRY and CT_TEST_TAG select those of `make images`."""
    registry = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
    return Images(registry, os.environ.get("CT_TEST_TAG", "test"))


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient, names: Images) -> Images:
    """The built images without torch. Unchanged layers are taken from the cache of Docker."""
    build(names, *TORCH_FREE, "--no-push")
    return names


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The archive of the toy model, with provenance."""
    return make_toy_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def repository(engine: docker.DockerClient) -> Iterator[str]:
    """The name for packages of this process; their tags are removed from Docker afterwards."""
    name = f"localhost:5000/package-test-{uuid.uuid4().hex[:12]}/toy"
    yield name
    remove_tags(engine, f"{name}:")


def wait_until_healthy(container: Container, timeout: float = 60) -> None:
    """Wait until the health check of a container succeeds, at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    container.reload()
    while container.health != "healthy":
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.1)
        container.reload()


def build(names: Images, *arguments: str) -> None:
    """Run `python -m pipelines.build_images` for targets, with further arguments."""
    options = ["--registry", names.registry, "--tag", names.tag]
    assert build_images.main([*options, "--images", *arguments, "--", "--network", "host"]) == 0
