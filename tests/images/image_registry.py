"""A local container registry: the program docker-registry."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import requests

from tests.fakes import free_port

SETTINGS = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@contextmanager
def image_registry(folder: Path, engine: docker.DockerClient) -> Iterator[str]:
    """Yield HOST:PORT of an empty registry. Its images are removed from Docker afterwards."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no registry is installed: apt-get install docker-registry")
    port = free_port()
    (folder / "settings.yml").write_text(SETTINGS.format(folder=folder / "images", port=port))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", folder / "settings.yml"], stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/v2/", server, folder / "log")
        yield f"127.0.0.1:{port}"
        remove_tags(engine, f"127.0.0.1:{port}/")
    finally:
        server.terminate()
        server.wait()


def remove_tags(engine: docker.DockerClient, prefix: str) -> None:
    """Remove the names with a prefix from Docker."""
    # Not engine.images.list(), which fails if another process removes an image in the meantime.
    for image in engine.api.images():
        for tag in image["RepoTags"] or []:
            if tag.startswith(prefix):
                engine.images.remove(tag)


def get_manifest(name: str) -> requests.Response:
    """Return the registry's response with the manifest of HOST:PORT/PATH:TAG."""
    host, _, path = name.partition("/")
    repository, _, tag = path.rpartition(":")
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    return requests.get(url, headers={"accept": MANIFEST}, timeout=10)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(url, timeout=5).raise_for_status()
            return
        except requests.RequestException:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no registry: {log.read_text()}") from None
        time.sleep(0.05)
