"""Images for a cluster that cannot reach public registries: built here and pushed to a local registry.

`CT_TEST_REGISTRY` is the registry (default: localhost:5000/continuous-training). The images of the steps are
those that `make images` pushed with the tag CT_TEST_TAG (default: dev).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]
DOCKERFILES = Path(__file__).parent / "images"
REGISTRY = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
TAG = os.environ.get("CT_TEST_TAG", "dev")
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


def step_image(name: str) -> str:
    """Return the image of a step or of the model server, by digest. Skips the test if it was not pushed."""
    image = _find_pushed(name)
    if image is None:
        pytest.skip(f"no image {REGISTRY}/{name}:{TAG}: make images REGISTRY={REGISTRY} TAG={TAG}")
    return image


def registry_image() -> str:
    """Return the image of the registry. Builds it if it was not pushed."""
    return _find_pushed("registry") or _push("registry", ROOT / "manifests/images/registry.Dockerfile", ROOT)


def postgres_image() -> str:
    """Return a replacement for the public image of PostgreSQL."""
    return _find_pushed("postgres") or _push("postgres", DOCKERFILES / "postgres.Dockerfile", DOCKERFILES)


def store_image(folder: Path) -> str:
    """Return a replacement for the public image of the store, built from its Go module."""
    if image := _find_pushed("versitygw"):
        return image
    if shutil.which("go") is None:
        pytest.skip("the image of the store needs go, which is not installed")
    environment = os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    process = subprocess.run(["go", "install", VERSITYGW], env=environment, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr.decode()
    return _push("versitygw", DOCKERFILES / "store.Dockerfile", folder)


def _find_pushed(name: str) -> str | None:
    """Return the image by digest, or None if the registry has no image with this tag."""
    host, _, path = REGISTRY.partition("/")
    url = f"http://{host}/v2/{path}/{name}/manifests/{TAG}"
    try:
        response = requests.head(url, headers={"accept": MANIFEST}, timeout=10)
    except requests.RequestException:
        return None
    return f"{REGISTRY}/{name}@{response.headers['docker-content-digest']}" if response.ok else None


def _push(image: str, dockerfile: Path, context: Path) -> str:
    name = f"{REGISTRY}/{image}:{TAG}"
    _docker("build", "--quiet", "--network", "host", "--file", str(dockerfile), "--tag", name, str(context))
    _docker("push", "--quiet", name)
    return step_image(image)


def _docker(*arguments: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed, but the images of the cluster's services must be built")
    process = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
