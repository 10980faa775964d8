"""`python -m serving.package --format kserve-oci`: an image with the files of a model, for KServe.

KServe 0.20 uses such an image in three ways: a container that makes its files visible to the server (the
default for `oci://`), a volume, or a download of /models from the layers by the storage initializer.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from continuous_training.artifacts.archive_writer import Archive
from pipelines.images import Images
from serving.package.__main__ import main

from .conftest import BASE, HARDENED, wait_until_healthy
from .image_registry import get_manifest, image_registry
from .packages import build_package

USER = "1010"
"""The user as which KServe runs both containers of a pod (uidModelcar)."""

LAYER_TYPES = {
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.image.layer.v1.tar",
}
"""The types of layers that the storage initializer reads."""

SERVE = ("serve", "--host", "0.0.0.0", "--port", "8080")  # noqa: S104
READY = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/ready')"


@pytest.fixture(scope="module")
def model_image(engine: docker.DockerClient, archive: Archive, repository: str) -> str:
    name = f"{repository}:model"
    build_package(archive.path, "--format", "kserve-oci", "--base-image", BASE, "--tag", name)
    return name


def test_the_image_contains_the_archive_and_no_server(
    engine: docker.DockerClient, model_image: str, archive: Archive
) -> None:
    attributes = engine.images.get(model_image).attrs
    assert attributes["RootFS"]["Layers"][:-2] == engine.images.get(BASE).attrs["RootFS"]["Layers"]
    assert not attributes["Config"]["Entrypoint"]
    assert attributes["Config"]["Labels"]["continuous-training/digest"] == archive.digest
    output = engine.containers.run(
        model_image, ["sha256sum", "/models/model.mar"], user=USER, remove=True, **HARDENED
    )
    assert output.decode().split()[0] == archive.digest


def test_the_server_reads_the_model_from_the_container_that_kserve_adds(
    engine: docker.DockerClient, images: Images, model_image: str, archive: Archive, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    # The volume of a pod can be written by every user.
    folder.chmod(0o777)
    options = {"volumes": {str(folder): {"bind": "/mnt", "mode": "rw"}}, "detach": True, "user": USER}
    link = "ln -sf /proc/$$/root/models /mnt/models && sleep infinity"
    containers = [engine.containers.run(model_image, ["sh", "-c", link], **options)]
    try:
        server = engine.containers.create(
            images.of("serving"),
            [*SERVE, "--archive", "/mnt/models/model.mar"],
            pid_mode=f"container:{containers[0].id}",
            ports={"8080/tcp": ("127.0.0.1", None)},
            healthcheck={"test": ["CMD", "python", "-c", READY], "interval": 10**9},
            **options,
            **HARDENED,
        )
        containers.append(server)
        server.start()
        wait_until_healthy(server)
        port = server.ports["8080/tcp"][0]["HostPort"]
        response = requests.post(f"http://127.0.0.1:{port}/predict/toy", json={"x": [4]}, timeout=30)
        assert response.json() == {"scale": 2, "y": [8.0]}
        assert response.headers["x-model-digest"] == archive.digest
    finally:
        for container in reversed(containers):
            container.remove(force=True)


@pytest.fixture
def registries(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """HOST:PORT of two registries."""
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp("registry") for _ in range(2)]
        yield [stack.enter_context(image_registry(folder, engine)) for folder in folders]


def test_two_registries_have_the_same_image_with_the_model_in_its_layers(
    archive: Archive, registries: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    version, file = archive.digest[:12], tmp_path / "digests.json"
    repositories = [f"{registries[0]}/models/toy", f"{registries[1]}/ct/toy"]
    names = [f"{repository}:{version}" for repository in repositories]
    options = ["--format", "kserve-oci", "--base-image", BASE, "--push", "--digests", str(file)]
    build_package(archive.path, *options, *(f"--tag={name}" for name in repositories))
    digests = json.loads(file.read_text(encoding="utf-8"))
    assert set(digests) == set(names)
    assert capfd.readouterr().out.splitlines() == [f"{name}  {digests[name]}" for name in names]
    manifests = [get_manifest(name) for name in names]
    assert {manifest.headers["docker-content-digest"] for manifest in manifests} == set(digests.values())
    assert len(set(digests.values())) == 1
    assert digests[names[0]] == f"sha256:{sha256(manifests[0].content).hexdigest()}"
    layers = manifests[0].json()["layers"]
    assert {layer["mediaType"] for layer in layers} <= LAYER_TYPES
    files = files_of(f"http://{registries[0]}/v2/models/toy/blobs", layers[-2:])
    assert sorted(files) == ["models/model.mar", "sbom/sbom.cdx.json"]
    assert sha256(files["models/model.mar"]).hexdigest() == archive.digest


def files_of(blobs: str, layers: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return the content of the files in layers, which are below the address `blobs`."""
    files: dict[str, bytes] = {}
    for layer in layers:
        response = requests.get(f"{blobs}/{layer['digest']}", timeout=30)
        with tarfile.open(fileobj=io.BytesIO(response.content)) as tar:
            files |= {member.name: read(tar, member) for member in tar if member.isreg()}
    return files


def read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    assert content is not None
    return content.read()


def test_a_base_image_without_a_shell_is_rejected(
    engine: docker.DockerClient, archive: Archive, repository: str, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    base = f"{repository}:empty"
    engine.api.import_image_from_data(empty.getvalue(), repository=repository, tag="empty")
    options = ["--format", "kserve-oci", "--base-image", base, "--tag", f"{repository}:without-shell"]
    assert main(["--archive", str(archive.path), *options]) == 2
    assert "KServe cannot use the image" in capfd.readouterr().err
    assert not [tag for tag in engine.images.get(base).tags if tag.endswith(":without-shell")]


@pytest.mark.parametrize(
    "options",
    [["--format", "kserve-oci", "--serving-image", "registry.example/serving:1"], ["--base-image", BASE]],
)
def test_options_of_the_other_format_are_rejected(
    archive: Archive, options: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--archive", str(archive.path), *options]) == 2
    assert "omit it" in capfd.readouterr().err
