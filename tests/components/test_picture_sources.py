"""prep-data reads a folder of pictures with one subfolder per label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import workloads.mnist.workload as mnist
from continuous_training.artifacts.dataset import Dataset
from workloads.mnist.idx import read_idx

from .test_bad_rows import prepare

SAMPLE = Path(mnist.__file__).parent / "sample"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training images of the sample as PNG files, dark on light, without the equal ones."""
    folder = tmp_path_factory.mktemp("pictures")
    images = read_idx(SAMPLE / "train-images-idx3-ubyte.gz", 3)
    labels = read_idx(SAMPLE / "train-labels-idx1-ubyte.gz", 1).tolist()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray(255 - image).save(folder / f"{label}/{number:04d}.png")
    return folder


@pytest.fixture
def copy(pictures: Path, folder: Path) -> Path:
    """A folder with links to the pictures, which a test can change."""
    for path in pictures.glob("*/*"):
        (folder / path.parent.name).mkdir(exist_ok=True)
        (folder / path.parent.name / path.name).symlink_to(path)
    return folder


def failure(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    assert prepare("mnist", source, tmp_path / "data") == 2
    return capfd.readouterr().err.partition("error: ")[2]


def test_the_rows_are_those_of_the_idx_files(pictures: Path, tmp_path: Path) -> None:
    assert prepare("mnist", pictures, tmp_path / "data") == 0
    dataset = Dataset.open(tmp_path / "data")
    tables = [dataset.read(split) for split in ("train", "holdout")]
    rows = {(row["image"], row["label"]) for table in tables for row in table.to_pylist()}
    images = read_idx(SAMPLE / "train-images-idx3-ubyte.gz", 3)
    labels = read_idx(SAMPLE / "train-labels-idx1-ubyte.gz", 1).tolist()
    assert rows == {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
    assert 0.1 < tables[1].num_rows / 1000 < 0.3
    assert dataset.manifest.source_files is None


def test_other_files_are_counted_and_duplicates_and_bad_pictures_are_no_rows(
    copy: Path, tmp_path: Path
) -> None:
    first = next((copy / "3").iterdir())
    (copy / "3/again.png").write_bytes(first.read_bytes())
    (copy / "3/damaged.jpg").write_bytes(b"x")
    Image.new("L", (40, 40), 255).save(copy / "4/blank.png")
    Image.fromarray(np.asarray(Image.open(first))).resize((280, 280)).convert("RGB").save(
        copy / "3/large.JPEG"
    )
    for name in ("3/._scan.png", ".DS_Store", "_SUCCESS", "README.md", "3/Thumbs.db"):
        (copy / name).touch()
    assert prepare("mnist", copy, tmp_path / "data", "bad_rows=2", "expected_rows=1004") == 0
    manifest = Dataset.open(tmp_path / "data").manifest
    assert manifest.duplicates == 1
    assert {row.file for row in Dataset.open(tmp_path / "data").bad_rows()} == {
        "3/damaged.jpg",
        "4/blank.png",
    }
    assert sum(split.rows for split in manifest.splits.values()) == 1001
    assert manifest.source_files is not None
    assert manifest.source_files.omitted == {"hidden": 2, "marker": 1, "other": 2}


def test_pictures_that_would_be_missing_or_contradict_are_rejected(
    copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = next(iter(sorted((copy / "3").iterdir())))
    (copy / "8/same.png").write_bytes(first.read_bytes())
    message = f"3/{first.name} and 8/same.png are the same picture with two labels"
    assert message in failure(copy, tmp_path, capfd)
    (copy / "8/same.png").rename(copy / "same.png")
    assert "same.png is in no subfolder of a label" in failure(copy, tmp_path, capfd)
    (copy / "same.png").unlink()
    (copy / "3/more").mkdir()
    assert "3/more is a folder" in failure(copy, tmp_path, capfd)
    (copy / "3/more").rename(copy / "seven")
    assert "the subfolder seven is no label; the labels are 0, 1, 2" in failure(copy, tmp_path, capfd)
