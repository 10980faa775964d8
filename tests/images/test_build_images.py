"""The command that builds and pushes the images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from pipelines import build_images, compile
from pipelines.images import Images

from .conftest import build
from .image_registry import get_manifest, image_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[str]:
    """The address of a registry with the path for the images."""
    with image_registry(tmp_path_factory.mktemp("registry"), engine) as address:
        yield f"{address}/ct"


def test_a_compiled_pipeline_pins_the_pushed_digests(
    engine: docker.DockerClient, registry: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names, pinned = Images(registry, "one"), tmp_path / "images.json"
    build(names, "notify", "--output", str(pinned))
    digests = json.loads(pinned.read_text())
    assert list(digests) == ["notify"]
    # The digest is compared with the one in the registry.
    response = get_manifest(f"{registry}/notify:one")
    assert digests["notify"] == response.headers["docker-content-digest"]
    assert f"{registry}/notify:one" in capfd.readouterr().out

    arguments = ["--workload", "digits", "--registry", registry, "--tag", "one", "--digests", str(pinned)]
    assert compile.main([*arguments, "--output", str(tmp_path)]) == 0
    text = (tmp_path / "digits.yaml").read_text()
    assert f"image: {registry}/notify@{digests['notify']}" in text
    assert f"image: {registry}/archive:one" in text

    # The file also lists images that were pushed earlier with the same tag, but none of another tag.
    engine.images.get(names.of("notify")).tag(f"{registry}/archive", "one")
    engine.images.push(f"{registry}/archive", "one")
    build(names, "notify", "--output", str(pinned))
    assert json.loads(pinned.read_text()) == {**digests, "archive": digests["notify"]}
    build(Images(registry, "two"), "notify", "--output", str(pinned))
    assert json.loads(pinned.read_text()) == digests


def test_an_unreachable_registry(images: Images, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pinned = tmp_path / "images.json"
    options = ["--registry", "127.0.0.1:9/ct", "--tag", images.tag, "--images", "notify"]
    assert build_images.main([*options, "--output", str(pinned), "--", "--network", "host"]) == 2
    error = capfd.readouterr().err
    assert "the push of 127.0.0.1:9/ct/notify:" in error
    assert "docker login 127.0.0.1:9" in error
    assert not pinned.exists()
    docker.from_env().images.remove(f"127.0.0.1:9/ct/notify:{images.tag}")


def test_a_failed_build(engine: docker.DockerClient, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--registry",
        "127.0.0.1:9/ct",
        "--images",
        "notify",
        "--",
        "--build-arg",
        "BASE=127.0.0.1:9/none:1",
    ]
    assert build_images.main(arguments) == 2
    assert capfd.readouterr().err.endswith(
        "error: the build of notify failed; see the output of Docker above\n"
    )


def test_a_missing_docker_command_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert build_images.main(["--registry", "registry.example/ct"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: the docker command was not found: install Docker, or use a machine that has it\n"
    )


DOCKER = """#!/bin/sh
case "$1 $2" in
  "push registry.example/ct/"$FAILING:*) exit 1 ;;
  push*) echo "$2" >> "$PUSHED" ;;
  "image inspect")
    case "$4" in
      *Size*) echo 1000000 ;;
      *) grep -q "^$5$" "$PUSHED" && echo "[\\"${5%%:*}@sha256:$DIGEST\\"]" || echo null ;;
    esac ;;
esac
"""
"""A substitute for Docker: it records the pushed images, and rejects the push of the component $FAILING."""


@pytest.fixture
def pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the images that the substitute for Docker has pushed."""
    program, pushed = tmp_path / "bin" / "docker", tmp_path / "pushed"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    pushed.touch()
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for name, value in {"PUSHED": str(pushed), "DIGEST": "ab" * 32, "FAILING": "none"}.items():
        monkeypatch.setenv(name, value)
    return pushed


REGISTRY = ("--registry", "registry.example/ct", "--tag", "one")


@pytest.mark.parametrize(
    ("workloads", "training"),
    [(["digits"], ["train"]), (["mnist"], ["train-torch"]), (["digits", "mnist"], ["train", "train-torch"])],
)
def test_only_the_images_of_the_workloads_are_built(
    workloads: list[str], training: list[str], pushed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "images.json"
    assert build_images.main([*REGISTRY, "--workloads", *workloads, "--output", str(output)]) == 0
    steps = ["serving", "notify", "archive", "prep-data", "evaluate", "deploy-serving"]
    expected = [*steps, *training]
    assert pushed.read_text().split() == [f"registry.example/ct/{name}:one" for name in expected]
    assert sorted(json.loads(output.read_text())) == sorted(expected)


def test_an_unknown_workload_is_rejected(pushed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_images.main([*REGISTRY, "--workloads", "nothere"]) == 2
    assert "nothere" in capsys.readouterr().err
    assert pushed.read_text() == ""


def test_a_failed_push_keeps_the_digests_of_the_others(
    pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAILING", "prep-data")
    output = tmp_path / "images.json"
    assert build_images.main([*REGISTRY, "--workloads", "digits", "--output", str(output)]) == 2
    assert sorted(json.loads(output.read_text())) == ["archive", "notify", "serving"]
    error = capsys.readouterr().err
    assert "the push of registry.example/ct/prep-data:one failed" in error
    assert error.endswith("run the command with --images prep-data evaluate deploy-serving train\n")
    assert "contains the digests of serving, notify, archive" in error


@pytest.mark.parametrize(
    "arguments", [["--registry", "https://registry.example"], ["--registry", "a/b", "--tag", "latest"]]
)
def test_invalid_image_names_are_rejected(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert build_images.main(arguments) == 2
    assert "error: --" in capsys.readouterr().err
