"""Images for a cluster that reaches no registry of the world: built here, pushed to one that it reaches.

`CT_TEST_REGISTRY` says where (default: localhost:5000/continuous-training). The steps' images are those
that `make images` pushed there, under CT_TEST_TAG (default: dev).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "images"
REGISTRY = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
TAG = os.environ.get("CT_TEST_TAG", "dev")
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


def step_image(name: str) -> str:
    """Return a step's image, or the model server's, by its digest; skips where nobody has pushed it."""
    found = _pushed(name)
    if found is None:
        pytest.skip(f"no image {REGISTRY}/{name}:{TAG}: make images REGISTRY={REGISTRY} TAG={TAG}")
    return found


def registry_image() -> str:
    """Return the registry's image as it is shipped, built where nobody has pushed it."""
    return _pushed("registry") or _push("registry", ROOT / "manifests/images/registry.Dockerfile", ROOT)


def postgres_image() -> str:
    """Return a stand-in for the public image of PostgreSQL."""
    return _pushed("postgres") or _push("postgres", HERE / "postgres.Dockerfile", HERE)


def store_image(folder: Path) -> str:
    """Return a stand-in for the public image of the store: its program, built from its Go module."""
    if there := _pushed("versitygw"):
        return there
    if shutil.which("go") is None:
        pytest.skip("the store's image is built by go, which is not installed")
    environment = os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    done = subprocess.run(["go", "install", VERSITYGW], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return _push("versitygw", HERE / "store.Dockerfile", folder)


def _pushed(name: str) -> str | None:
    """Return the image by its digest, or None when the registry has none of this tag."""
    host, _, path = REGISTRY.partition("/")
    url = f"http://{host}/v2/{path}/{name}/manifests/{TAG}"
    try:
        found = requests.head(url, headers={"accept": MANIFEST}, timeout=10)
    except requests.RequestException:
        return None
    return f"{REGISTRY}/{name}@{found.headers['docker-content-digest']}" if found.ok else None


def _push(image: str, dockerfile: Path, context: Path) -> str:
    name = f"{REGISTRY}/{image}:{TAG}"
    _docker("build", "--quiet", "--network", "host", "--file", str(dockerfile), "--tag", name, str(context))
    _docker("push", "--quiet", name)
    return step_image(image)


def _docker(*arguments: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed, and the images of the cluster's own services are built here")
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
