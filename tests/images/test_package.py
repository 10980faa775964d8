"""`python -m serving.package`: an image with the model server and one archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import ImageNotFound

from continuous_training.adapters.model_store import set_alias
from continuous_training.adapters.object_store import FolderStore
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import UserError
from pipelines.images import Images
from pipelines.steps.defaults import USER
from serving.package.__main__ import main
from serving.package.verification import verify_image
from tests.continuous_training.serving.foreground import serving
from tests.continuous_training.serving.toy_models import make_archive

from .conftest import HARDENED, wait_until_healthy

NO_TRAINING_CODE = """
import importlib.util
names = ("workloads", "components", "pipelines", "kfp", "sklearn", "torch", "mlflow", "pyarrow", "pip")
print([name for name in names if importlib.util.find_spec(name)])
"""


@pytest.fixture(scope="module")
def package(
    engine: docker.DockerClient,
    images: Images,
    archive: Archive,
    repository: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The name of the package of the champion in an object store."""
    store = FolderStore(folder := tmp_path_factory.mktemp("store"))
    store.put_if_absent(f"archives/toy/{archive.digest}.mar", archive.path)
    set_alias(store, "toy", archive.digest, run="toy-run")
    options = ["--model-store", str(folder), "--serving-image", images.of("serving")]
    tags = ["--tag", repository, "--tag", f"{repository}:live"]
    assert main(["--model", "toy@champion", *options, *tags]) == 0
    return f"{repository}:{archive.digest[:12]}"


@pytest.fixture(scope="module")
def url(engine: docker.DockerClient, package: str) -> Iterator[str]:
    """The address of a container of the package, which has only a published port."""
    container = engine.containers.run(
        package, detach=True, ports={"8080/tcp": ("127.0.0.1", None)}, **HARDENED
    )
    try:
        wait_until_healthy(container)
        yield f"http://127.0.0.1:{container.ports['8080/tcp'][0]['HostPort']}"
    finally:
        container.remove(force=True)


def test_the_responses_equal_those_of_the_endpoint(url: str, archive: Archive) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, -2]}
    exchanges: list[tuple[str, str, Any]] = [
        ("POST", "/predict/toy", {"x": [1.5, -2, 1e-7]}),
        ("POST", "/predict/toy", {"x": "no numbers"}),
        ("POST", "/v2/models/toy/infer", {"inputs": [tensor]}),
        ("POST", "/v1/models/toy:predict", {"instances": [{"x": [3]}]}),
        ("GET", "/v2/models/toy", None),
        ("GET", "/nothing", None),
    ]
    headers = ("content-type", "x-model-digest", "x-model-version")
    with serving(archive) as endpoint:
        for method, path, body in exchanges:
            expected, response = (
                requests.request(method, f"{base}{path}", json=body, timeout=30)
                for base in (endpoint.url, url)
            )
            assert (response.status_code, response.content) == (expected.status_code, expected.content), path
            for name in headers:
                assert response.headers.get(name) == expected.headers.get(name)
    prediction = requests.post(f"{url}/predict/toy", json={"x": [4]}, timeout=30)
    assert prediction.json() == {"scale": 2, "y": [8.0]}
    assert prediction.headers["x-model-digest"] == archive.digest


def test_labels_tags_user_and_health_check(
    engine: docker.DockerClient, images: Images, package: str, archive: Archive, repository: str
) -> None:
    image = engine.images.get(package)
    assert image.id == engine.images.get(f"{repository}:live").id
    expected = {
        "org.opencontainers.image.title": "toy",
        "org.opencontainers.image.version": archive.digest[:12],
        "org.opencontainers.image.base.name": images.of("serving"),
        "continuous-training/model": "toy",
        "continuous-training/digest": archive.digest,
        "continuous-training/run": "toy-run",
        "continuous-training/code-digest": "c" * 64,
        "continuous-training/data-fingerprint": "f" * 64,
        "continuous-training/input-digest": "e" * 64,
        "continuous-training/model-digest": "d" * 64,
    }
    assert {name: image.labels.get(name) for name in expected} == expected
    assert image.attrs["Config"]["User"] == f"{USER}:{USER}"
    assert "/v2/health/ready" in image.attrs["Config"]["Healthcheck"]["Test"][-1]


def test_the_package_contains_no_training_code(engine: docker.DockerClient, package: str) -> None:
    output = engine.containers.run(
        package, ["-c", NO_TRAINING_CODE], entrypoint=["python"], remove=True, **HARDENED
    )
    assert output.decode().strip() == "[]"


def test_options_of_serve_follow_the_name_of_the_image(engine: docker.DockerClient, package: str) -> None:
    output = engine.containers.run(package, ["--help"], remove=True, **HARDENED)
    assert b"--cors-origin" in output


def test_a_package_that_is_not_ready_in_time_is_reported_with_its_health_check(package: str) -> None:
    with pytest.raises(UserError, match="ready within 0 s; the health check reports: nothing yet"):
        verify_image(package, timeout=0)


def test_a_model_with_other_responses_gets_no_tag(
    engine: docker.DockerClient,
    images: Images,
    repository: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = make_archive(tmp_path, wrong=True)
    name = f"{repository}:wrong"
    arguments = ["--archive", str(wrong.path), "--serving-image", images.of("serving"), "--tag", name]
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert "does not become ready" in error
    assert "golden requests differ" in error
    with pytest.raises(ImageNotFound):
        engine.images.get(name)


def test_another_image_than_the_model_server_is_rejected(
    images: Images, archive: Archive, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--archive", str(archive.path), "--serving-image", images.of("archive")]) == 2
    assert "is not an image of the model server" in capfd.readouterr().err


def test_a_damaged_archive_is_rejected(
    archive: Archive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged, content = tmp_path / "damaged.mar", bytearray(archive.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert main(["--archive", str(damaged), "--serving-image", "registry.example/serving:1"]) == 2
    assert str(damaged) in capfd.readouterr().err


@pytest.mark.parametrize(
    "tag", ["https://registry.example/toy", "registry.example/Toy", "toy:", "toy@sha256:1"]
)
def test_an_invalid_name_is_rejected(archive: Archive, tag: str, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--archive", str(archive.path), "--serving-image", "registry.example/serving:1"]
    assert main([*arguments, "--tag", tag]) == 2
    assert "is not the name of an image" in capfd.readouterr().err


def test_the_image_of_the_server_is_required(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CT_SERVING_IMAGE", raising=False)
    assert main(["--archive", str(archive.path)]) == 2
    assert "--serving-image" in capfd.readouterr().err


def test_a_missing_docker_command_is_reported(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CT_SERVING_IMAGE", "registry.example/serving:1")
    assert main(["--archive", str(archive.path)]) == 2
    assert "the docker command was not found" in capfd.readouterr().err
