"""The verb that builds and pushes them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests

from pipelines import build_images, compile
from pipelines.images import Images
from tests.fakes import free_port

from .conftest import make

SETTINGS = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[str]:
    """The address of an empty registry; what was built for it is gone from Docker afterwards."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("there is no registry to start: apt-get install docker-registry")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    (folder / "settings.yml").write_text(SETTINGS.format(folder=folder / "images", port=port))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", folder / "settings.yml"], stdout=log, stderr=log)
    try:
        _await(f"http://127.0.0.1:{port}/v2/", server, folder / "log")
        yield f"127.0.0.1:{port}/ct"
        for image in engine.images.list():
            for tag in image.tags:
                if tag.startswith(f"127.0.0.1:{port}/"):
                    engine.images.remove(tag)
    finally:
        server.terminate()
        server.wait()


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(url, timeout=5).raise_for_status()
            return
        except requests.RequestException:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no registry: {log.read_text()}") from None
        time.sleep(0.05)


def test_a_pipeline_runs_the_very_images_that_were_pushed(
    engine: docker.DockerClient, registry: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names, pinned = Images(registry, "one"), tmp_path / "images.json"
    make(names, "notify", "--output", str(pinned))
    digests = json.loads(pinned.read_text())
    assert list(digests) == ["notify"]
    # The registry itself says under which digest it has the image.
    host, _, path = registry.partition("/")
    accept = {"accept": "application/vnd.docker.distribution.manifest.v2+json"}
    asked = requests.get(f"http://{host}/v2/{path}/notify/manifests/one", headers=accept, timeout=10)
    assert digests["notify"] == asked.headers["docker-content-digest"]
    assert f"{registry}/notify:one" in capfd.readouterr().out

    told = ["--workload", "digits", "--registry", registry, "--tag", "one", "--digests", str(pinned)]
    assert compile.main([*told, "--output", str(tmp_path)]) == 0
    text = (tmp_path / "digits.yaml").read_text()
    assert f"image: {registry}/notify@{digests['notify']}" in text
    assert f"image: {registry}/archive:one" in text

    # What was pushed under this tag before belongs to the set, too; under another tag a new set begins.
    engine.images.get(names.of("notify")).tag(f"{registry}/archive", "one")
    engine.images.push(f"{registry}/archive", "one")
    make(names, "notify", "--output", str(pinned))
    assert json.loads(pinned.read_text()) == {**digests, "archive": digests["notify"]}
    make(Images(registry, "two"), "notify", "--output", str(pinned))
    assert json.loads(pinned.read_text()) == digests


def test_a_registry_that_is_not_there(
    images: Images, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pinned = tmp_path / "images.json"
    nowhere = ["--registry", "127.0.0.1:9/ct", "--tag", images.tag, "--images", "notify"]
    assert build_images.main([*nowhere, "--output", str(pinned), "--", "--network", "host"]) == 2
    said = capfd.readouterr().err
    assert "pushing 127.0.0.1:9/ct/notify:" in said
    assert "docker login 127.0.0.1:9" in said
    assert not pinned.exists()
    docker.from_env().images.remove(f"127.0.0.1:9/ct/notify:{images.tag}")


def test_a_build_that_fails(engine: docker.DockerClient, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = [
        "--registry",
        "127.0.0.1:9/ct",
        "--images",
        "notify",
        "--",
        "--build-arg",
        "BASE=127.0.0.1:9/none:1",
    ]
    assert build_images.main(wrong) == 2
    assert capfd.readouterr().err.endswith("error: building notify failed; Docker says why above\n")


def test_without_docker_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert build_images.main(["--registry", "registry.example/ct"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no docker command here: install Docker, or run this where it is\n"
    )


@pytest.mark.parametrize(
    "wrong", [["--registry", "https://registry.example"], ["--registry", "a/b", "--tag", "latest"]]
)
def test_names_that_docker_would_refuse(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert build_images.main(wrong) == 2
    assert "error: --" in capsys.readouterr().err
