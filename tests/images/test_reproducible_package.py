"""The same archive and the same base image result in the same package; its bill of materials."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import docker
import pytest

from continuous_training.artifacts.archive_writer import Archive
from pipelines.images import Images
from serving.package.layer import LayerFile, write_layer

from .conftest import HARDENED
from .packages import build_package

LIST_DISTRIBUTIONS = """
import json
from importlib import metadata
print(json.dumps(sorted({(d.metadata["Name"], d.version) for d in metadata.distributions()})))
"""


@pytest.fixture(scope="module")
def sbom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"


@pytest.fixture(scope="module")
def package(images: Images, archive: Archive, repository: str, sbom_file: Path) -> str:
    """The name of a package, whose bill of materials was also written to `sbom_file`."""
    name = f"{repository}:first"
    options = ["--serving-image", images.of("serving"), "--tag", name, "--sbom", str(sbom_file)]
    build_package(archive.path, *options)
    return name


@pytest.fixture(scope="module")
def components(package: str, sbom_file: Path) -> list[dict[str, Any]]:
    """The components of the bill of materials."""
    return json.loads(sbom_file.read_text(encoding="utf-8"))["components"]


def test_a_second_build_gives_the_same_image(
    engine: docker.DockerClient,
    images: Images,
    archive: Archive,
    repository: str,
    package: str,
    tmp_path: Path,
) -> None:
    copy = Path(shutil.copyfile(archive.path, tmp_path / "other-name.mar"))
    copy.chmod(0o600)
    os.utime(copy, (1e9, 1e9))
    previous = os.umask(0o077)
    try:
        build_package(copy, "--serving-image", images.of("serving"), "--tag", f"{repository}:second")
    finally:
        os.umask(previous)
    first, second = (engine.images.get(f"{repository}:{tag}") for tag in ("first", "second"))
    assert first.id == second.id
    assert first.attrs["Created"] == engine.images.get(images.of("serving")).attrs["Created"]


def test_a_package_adds_two_layers_to_its_base(
    engine: docker.DockerClient, images: Images, archive: Archive, package: str, tmp_path: Path
) -> None:
    base, image = (
        engine.images.get(name).attrs["RootFS"]["Layers"] for name in (images.of("serving"), package)
    )
    assert image[:-2] == base
    model = write_layer(tmp_path / "layer.tar", [LayerFile("models/model.mar", archive.path)])
    assert image[-2] == model.diff_id


def test_the_image_contains_the_bill_of_materials(
    engine: docker.DockerClient, package: str, sbom_file: Path
) -> None:
    command = ["/sbom/sbom.cdx.json"]
    output = engine.containers.run(package, command, entrypoint=["cat"], remove=True, **HARDENED)
    assert output == sbom_file.read_bytes()
    document = json.loads(output)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["component"]["name"] == "toy"


def test_the_bill_of_materials_lists_the_model_with_its_provenance(
    components: list[dict[str, Any]], archive: Archive
) -> None:
    (model,) = [item for item in components if item["type"] == "machine-learning-model"]
    assert (model["name"], model["version"]) == ("toy", archive.digest[:12])
    assert model["hashes"] == [{"alg": "SHA-256", "content": archive.digest}]
    assert {"name": "continuous-training/data-fingerprint", "value": "f" * 64} in model["properties"]


def test_the_bill_of_materials_lists_the_distributions_in_the_image(
    engine: docker.DockerClient, package: str, components: list[dict[str, Any]]
) -> None:
    output = engine.containers.run(
        package, ["-c", LIST_DISTRIBUTIONS], entrypoint=["python"], remove=True, **HARDENED
    )
    expected = [tuple(item) for item in json.loads(output)]
    listed = [
        (item["name"], item["version"]) for item in components if item.get("purl", "").startswith("pkg:pypi/")
    ]
    assert listed == expected
    assert {"numpy", "onnxruntime", "uvicorn", "continuous-training"} <= {name for name, _ in listed}


def test_the_bill_of_materials_lists_python_and_the_packages_of_debian(
    components: list[dict[str, Any]],
) -> None:
    urls = [item["purl"] for item in components if "purl" in item]
    assert any(re.fullmatch(r"pkg:generic/python@3\.\d+\.\d+", url) for url in urls)
    assert any(re.fullmatch(r"pkg:deb/debian/libc6@2\.\S+\?arch=\w+&distro=debian-12", url) for url in urls)


def test_a_layer_depends_only_on_names_and_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for path, mode, time in ((first, 0o644, 0), (second, 0o400, 1e9)):
        path.write_bytes(b"model")
        path.chmod(mode)
        os.utime(path, (time, time))
    text = LayerFile("sbom/x.json", b"{}")
    one = write_layer(tmp_path / "1.tar", [LayerFile("models/model.mar", first), text])
    two = write_layer(tmp_path / "2.tar", [text, LayerFile("models/model.mar", second)])
    other = write_layer(tmp_path / "3.tar", [LayerFile("models/other.mar", first), text])
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.diff_id == two.diff_id != other.diff_id
