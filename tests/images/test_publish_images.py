"""The command that publishes the images of several architectures, with substitutes for the tools."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pipelines import publish_images

TOOL = """#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
case "${0##*/} $*" in
  *"$FAILING"*) exit 1 ;;
  *"imagetools inspect"*) echo "{\\"digest\\": \\"sha256:$DIGEST\\", \\"size\\": 1}" ;;
  syft*) : > "${3#spdx-json=}" ;;
esac
"""
"""A substitute for docker, grype, syft and cosign: records its arguments, and fails for those in $FAILING."""

DIGEST = "ab" * 32
TAG = ("--tag", "v1")
ONE = ("--registry", "ghcr.io/team/ct", *TAG, "--images", "notify")
BOTH = ("--registry", "ghcr.io/team/ct", "docker.io/team", *TAG, "--images", "notify")
IMAGE = f"ghcr.io/team/ct/notify@sha256:{DIGEST}"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the calls of the tools; the current directory is empty."""
    for name in ("docker", "grype", "syft", "cosign"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(TOOL, encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for name, value in {"CALLS": str(tmp_path / "calls"), "DIGEST": DIGEST, "FAILING": "(none)"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "calls"


def test_images_are_joined_in_both_registries(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish_images.main(["join", *BOTH]) == 0
    create, _ = calls.read_text(encoding="utf-8").splitlines()
    assert create == (
        "docker buildx imagetools create --tag ghcr.io/team/ct/notify:v1 --tag docker.io/team/notify:v1 "
        "ghcr.io/team/ct/notify:v1-amd64 ghcr.io/team/ct/notify:v1-arm64"
    )
    digests = json.loads(Path("build/images.json").read_text(encoding="utf-8"))
    assert digests == {"notify": f"sha256:{DIGEST}"}
    assert Path("build/images.sha256").read_text(encoding="utf-8") == f"{DIGEST}  ghcr.io/team/ct/notify\n"
    assert f"ghcr.io/team/ct/notify:v1  sha256:{DIGEST}" in capsys.readouterr().out


def test_each_joined_image_is_scanned_described_and_signed(calls: Path) -> None:
    assert publish_images.main(["join", *BOTH]) == 0
    calls.unlink()
    for verb in ("scan", "sbom", "sign"):
        assert publish_images.main([verb, *BOTH]) == 0
    sbom = "build/sbom/notify.spdx.json"
    copy = f"docker.io/team/notify@sha256:{DIGEST}"
    assert calls.read_text(encoding="utf-8").splitlines() == [
        f"grype registry:{IMAGE} --only-fixed --fail-on high",
        f"syft registry:{IMAGE} --output spdx-json={sbom}",
        f"cosign sign --yes {IMAGE}",
        f"cosign attest --yes --type spdxjson --predicate {sbom} {IMAGE}",
        f"cosign sign --yes {copy}",
        f"cosign attest --yes --type spdxjson --predicate {sbom} {copy}",
    ]


@pytest.mark.parametrize(
    ("verb", "failing"), [("join", "imagetools create"), ("scan", "--fail-on"), ("sbom", "syft")]
)
def test_a_failing_tool_fails_the_command(
    verb: str,
    failing: str,
    calls: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert publish_images.main(["join", *ONE]) == 0
    monkeypatch.setenv("FAILING", failing)
    assert publish_images.main([verb, *ONE]) == 2
    assert "failed with exit code 1" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["scan", "sbom", "sign"])
def test_images_without_a_digest_are_rejected(
    verb: str, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish_images.main(["join", *ONE]) == 0
    calls.unlink()
    assert publish_images.main([verb, *ONE, "archive"]) == 2
    assert "archive" in capsys.readouterr().err
    assert not calls.exists()


def test_an_image_without_a_bill_of_materials_is_not_signed(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish_images.main(["join", *ONE]) == 0
    assert publish_images.main(["sign", *ONE]) == 2
    assert "notify.spdx.json does not exist" in capsys.readouterr().err
    assert "cosign" not in calls.read_text(encoding="utf-8")


def test_an_unreadable_digest_is_rejected(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILING", "imagetools inspect")
    assert publish_images.main(["join", *ONE]) == 2
    assert not Path("build/images.json").exists()


def test_a_missing_tool_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.chdir(tmp_path)
    assert publish_images.main(["join", *ONE]) == 2
    assert "the docker command was not found" in capsys.readouterr().err


def test_the_make_target_gives_the_digests_to_the_next_jobs(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    output = tmp_path / "output"
    variables = [
        "REGISTRY=ghcr.io/team/ct",
        "TAG=v1",
        "IMAGES=notify archive",
        f"DIGESTS={tmp_path}/images.json",
    ]
    dry_run = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "-C", root, "images-join", *variables],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for command in dry_run[-2:]:
        environment = {**os.environ, "GITHUB_OUTPUT": str(output)}
        subprocess.run(["sh", "-c", command], cwd=root, env=environment, check=True)
    name, _, value = output.read_text(encoding="utf-8").partition("=")
    digest = f"sha256:{DIGEST}"
    assert (name, json.loads(value)) == ("digests", {"notify": digest, "archive": digest})
