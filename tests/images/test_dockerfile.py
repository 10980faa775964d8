"""The text of the Dockerfile."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import build_images
from pipelines.steps.defaults import STEPS

DOCKERFILE = Path("components/Dockerfile")


@pytest.mark.parametrize(
    "file", [DOCKERFILE, *sorted(Path("manifests/images").glob("*.Dockerfile"))], ids=str
)
def test_hadolint_reports_nothing(file: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    process = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (0, ""), process.stderr


def test_every_step_has_a_target() -> None:
    targets = set(re.findall(r"^FROM runtime AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE))
    assert targets == set(build_images.TARGETS) == {*STEPS, "train-torch", "serving"}
