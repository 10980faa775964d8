"""`python -m serving.package --push`: errors, and the make target. test_model_image.py pushes an image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from continuous_training.adapters import docker_cli
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import UserError
from serving.package.__main__ import main
from serving.package.push import push_names

from ..imports import ROOT
from .conftest import BASE

DOCKER = """#!/bin/sh
case "$1 $2" in
  "image inspect") echo "[\\"${5%%:*}@sha256:$(printf %s "$5" | sha256sum | cut -c -64)\\"]" ;;
esac
"""
"""A substitute for Docker: the digest of an image depends on its name."""

TAGS = '--tag "a.example/x/${MODEL%%@*}" --tag "b.example/${MODEL%%@*}"'
"""The options in the recipe; the shell removes the alias from the name of the model."""


def test_an_unreachable_registry_is_reported(
    archive: Archive, repository: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    digests_file = tmp_path / "digests.json"
    options = ["--format", "kserve-oci", "--base-image", BASE, "--push", "--digests", str(digests_file)]
    assert main(["--archive", str(archive.path), *options, "--tag", "127.0.0.1:9/ct/toy:1"]) == 2
    assert "the push of 127.0.0.1:9/ct/toy:1 failed" in capfd.readouterr().err
    assert not digests_file.exists()
    docker_cli.run_docker(["image", "rm", "127.0.0.1:9/ct/toy:1"], "the tag could not be removed")


def test_different_digests_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text(DOCKER, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError, match="digests are not equal"):
        push_names(["first.example/toy:1", "second.example/toy:1"])


def test_a_push_needs_a_name(archive: Archive, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--archive", str(archive.path), "--push"]) == 2
    assert "--tag" in capfd.readouterr().err


def test_make_pushes_to_each_registry_and_never_executes_the_name_of_a_model(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    variables = {
        "MODEL": f"digits$(shell touch {marker})@champion",
        "REGISTRY": "a.example/x",
        "COPY": "b.example",
    }
    command = ["make", "--dry-run", "--no-print-directory", "package-push"]
    process = subprocess.run(
        command, env=os.environ | variables, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f'--model "$MODEL" --format server --sbom build/package.cdx.json {TAGS} --push' in process.stdout
    assert not marker.exists()
