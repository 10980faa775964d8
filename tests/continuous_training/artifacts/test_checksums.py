"""The checksums of an artifact's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from continuous_training.artifacts.checksums import CHECKSUMS, verify_checksums, write_checksums
from continuous_training.artifacts.errors import ArtifactError


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    for name in ("model.json", "code/a0.py", "code/a1.py"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    return tmp_path


def test_sha256sum_accepts_the_file(artifact: Path) -> None:
    verify_checksums(artifact, "train")
    subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=artifact, check=True)


def test_each_flipped_bit_of_the_checksums_is_detected(artifact: Path) -> None:
    path = artifact / CHECKSUMS
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="run the train step again"):
            verify_checksums(artifact, "train")


def test_a_missing_file_is_named(artifact: Path) -> None:
    (artifact / "code/a1.py").unlink()
    with pytest.raises(ArtifactError, match=r"code/a1\.py is missing"):
        verify_checksums(artifact, "train")


def test_only_named_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    write_checksums(tmp_path, ["a"])
    (tmp_path / "b").write_text("c")
    verify_checksums(tmp_path, "train")
