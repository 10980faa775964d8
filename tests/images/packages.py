"""Calls of `python -m serving.package` and an archive for them."""

from __future__ import annotations

from pathlib import Path

from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.golden_requests import GoldenSet
from serving.package.__main__ import main
from tests.continuous_training.serving.toy_models import make_bundle

PROVENANCE = {
    "data": {"fingerprint": "f" * 64},
    "code": "c" * 64,
    "recipe": "e" * 64,
    "model_digest": "d" * 64,
}


def make_toy_archive(folder: Path) -> Archive:
    """Return the archive of the toy model, with the provenance that the archive step writes."""
    golden = GoldenSet.from_json([{"request": {"x": [1.0]}, "answer": {"scale": 2, "y": [2.0]}}])
    return archive_writer.write(make_bundle(folder), folder, golden=golden, provenance=PROVENANCE)


def build_package(archive: Path, *options: str) -> None:
    """Build an image with an archive, with further options."""
    assert main(["--archive", str(archive), *options]) == 0
