"""prep-data reads files with a byte order mark, empty last lines, other suffixes, and partitions.

No file is omitted silently: it is read, counted in the manifest, or rejected with its name."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import workloads.nsmc.workload as nsmc
from components.prep_data.step import run
from continuous_training.artifacts.data_checks import DataChecks
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.source_files import SourceFiles
from tests import files_server
from tests.s3 import ACCESS, Bucket
from workloads import discovery

from .test_bad_rows import patients, prepare, write_csv


def fingerprint(workload: str, source: Path | str, output: Path) -> str:
    """Return the fingerprint of the dataset that prep-data's command writes."""
    assert prepare(workload, source, output) == 0
    return Dataset.open(output).manifest.fingerprint


@pytest.mark.parametrize(
    "names",
    [
        ("2024.csv", "2025.CSV"),
        ("2024.Csv", "2025.CSV.GZ"),
        ("a.csv", "dt=2025-01-01/part-0.csv"),
        ("dt=2025-01-01/part-0.csv", "dt=2025-01-02/part-0.csv"),
        ("a.csv", "dt=2025-01-01/hour=00/part-0.csv.gz"),
    ],
)
def test_files_in_subfolders_and_with_any_suffix_are_read(
    folder: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    header, *rows = patients()
    for name, part in zip(names, (rows[:220], rows[220:]), strict=True):
        path = folder / name
        write_csv(path, [header, *part])
        if name.lower().endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    write_csv(tmp_path / "plain/a.csv", [header, *rows])
    assert fingerprint("diabetes", folder, tmp_path / "data") == fingerprint(
        "diabetes", tmp_path / "plain", tmp_path / "expected"
    )
    assert sum(split.rows for split in Dataset.open(tmp_path / "data").manifest.splits.values()) == 442


@pytest.mark.parametrize("pattern", ["*.csv", "dt=*/part-*.csv"])
def test_a_glob_matches_a_suffix_in_any_case(folder: Path, tmp_path: Path, pattern: str) -> None:
    header, *rows = patients()
    prefix = "dt={}/part-0" if "/" in pattern else "{}"
    for n, suffix, part in ((1, "csv", rows[:220]), (2, "CSV", rows[220:])):
        write_csv(folder / f"{prefix.format(n)}.{suffix}", [header, *part])
    result = run(discovery.get("diabetes"), {"source": str(folder / pattern)}, tmp_path / "data")
    assert sum(result.rows.values()) == 442


def test_the_name_of_a_partition_is_part_of_the_position(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    header, *rows = patients()
    write_csv(folder / "dt=1/part-0.csv", [header, *rows])
    write_csv(folder / "dt=2/part-0.csv", [header, ["x", *rows[0][1:]]])
    assert prepare("diabetes", folder, tmp_path / "data") == 2
    assert "dt=2/part-0.csv, row 2, column age: 'x' is not a number" in capfd.readouterr().err


OMITTED = {
    ".a.csv.swp": "hidden",
    "._a.csv": "hidden",
    ".git/config": "hidden",
    "dt=1/.part-0.csv.crc": "hidden",
    "_SUCCESS": "marker",
    "_temporary/0/part-1.csv": "marker",
    "README.md": "other",
}


def write_omitted(folder: Path) -> None:
    for name in OMITTED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x00\x05\x16\x07")


def test_omitted_files_of_a_table_are_counted_in_manifest_record_and_log(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    header, *rows = patients()
    write_csv(folder / "a.csv", [header, *rows[:220]])
    write_csv(folder / "dt=1/part-0.csv", [header, *rows[220:]])
    write_omitted(folder)
    assert prepare("diabetes", folder, tmp_path / "data") == 0
    manifest = Dataset.open(tmp_path / "data").manifest
    assert sum(split.rows for split in manifest.splits.values()) == 442
    files = json.loads((tmp_path / "data/dataset.json").read_text())["source_files"]
    assert files["omitted"] == {"hidden": 4, "marker": 2, "other": 1}
    assert files["examples"][0] == "README.md"
    assert DataChecks.of(manifest, "").source_files == manifest.source_files
    message = "files of the source that are not read: 4 hidden, 2 marker, 1 other (README.md, "
    assert message in capfd.readouterr().err


def test_omitted_files_of_a_glob_are_counted(folder: Path, tmp_path: Path) -> None:
    write_csv(folder / "a.csv", patients())
    for name in ("._a.csv", ".old/a.csv", "_temporary/a.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert prepare("diabetes", folder / "**/*.csv", tmp_path / "data") == 0
    files = Dataset.open(tmp_path / "data").manifest.source_files
    assert files == SourceFiles({"hidden": 2, "marker": 1}, ("._a.csv", ".old/a.csv", "_temporary/a.csv"))


def test_omitted_files_next_to_reviews_are_counted(folder: Path, tmp_path: Path) -> None:
    for name, content in REVIEWS.items():
        (folder / name).write_bytes(content)
    write_omitted(folder)
    assert prepare("nsmc", folder, tmp_path / "data") == 0
    files = Dataset.open(tmp_path / "data").manifest.source_files
    # The folders .git, _temporary and dt=1 count once each.
    assert files is not None
    assert files.omitted == {"hidden": 3, "marker": 2, "other": 2}


def test_without_omitted_files_the_manifest_has_no_such_entry(folder: Path, tmp_path: Path) -> None:
    write_csv(folder / "a.csv", patients())
    for source in (folder, folder / "a.csv", folder / "*.csv"):
        assert prepare("diabetes", source, tmp_path / "data") == 0
        assert "source_files" not in json.loads((tmp_path / "data/dataset.json").read_text())
    assert prepare("nsmc", "nsmc:sample", tmp_path / "data") == 0
    assert "source_files" not in json.loads((tmp_path / "data/dataset.json").read_text())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.csv", "2024/b.csv"), r"the subfolder 2024 contains 2024/b\.csv.*glob .*/\*\*/\*\.csv$"),
        (("2024/12/31.csv", "2025/01/01.csv.gz"), "the subfolder 2024 contains 2024/12/31.csv"),
        (("dt=1/a.csv", "dt=1/old/b.CSV"), r"the subfolder old contains dt=1/old/b\.CSV"),
        (("a.csv", "a.csv.gz"), r"contains both a\.csv and a\.csv\.gz"),
        (("2025.CSV", "2025.csv.GZ"), r"contains both 2025\.CSV and 2025\.csv\.GZ"),
        (("a.csv", "b.csv.bz2"), r"contains b\.csv\.bz2, a data file that cannot be read here"),
        (("a.csv", "dt=1/b.tsv"), r"contains dt=1/b\.tsv, a data file that cannot be read here"),
    ],
)
def test_a_file_that_would_be_missing_or_read_twice_is_rejected(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], names: tuple[str, str], message: str
) -> None:
    for name in names:
        write_csv(folder / name, patients())
    assert prepare("diabetes", folder, tmp_path / "data") == 2
    assert re.search(message, capfd.readouterr().err.strip())


def test_the_glob_of_the_message_reads_all_subfolders(folder: Path, tmp_path: Path) -> None:
    header, *rows = patients()
    write_csv(folder / "a.csv", [header, *rows[:220]])
    write_csv(folder / "2024/12/31.csv", [header, *rows[220:]])
    assert prepare("diabetes", f"{folder}/**/*.csv", tmp_path / "data") == 0
    splits = Dataset.open(tmp_path / "data").manifest.splits.values()
    assert sum(split.rows for split in splits) == 442


@pytest.mark.parametrize(
    "names",
    [
        ("ratings_train.txt", "ratings_train.txt.gz"),
        ("RATINGS_TRAIN.TXT", "ratings_train.txt"),
        ("RATINGS_TRAIN.txt", "ratings_train.txt.GZ"),
    ],
)
def test_two_copies_of_a_review_file_are_rejected(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    (folder / "ratings_test.txt").write_bytes(REVIEWS["ratings_test.txt"])
    for name in names:
        (folder / name).write_bytes(REVIEWS["ratings_train.txt"])
    assert prepare("nsmc", folder, tmp_path / "data") == 2
    assert f"contains both {names[0]} and {names[1]}" in capfd.readouterr().err


def test_two_copies_of_an_image_file_are_rejected(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in (Path(nsmc.__file__).parent.parent / "mnist/sample").glob("*.gz"):
        (folder / path.name).write_bytes(path.read_bytes())
    copy = folder / "t10k-labels-idx1-ubyte"
    copy.write_bytes(gzip.decompress((folder / f"{copy.name}.gz").read_bytes()))
    assert prepare("mnist", folder, tmp_path / "data") == 2
    assert f"contains both {copy.name} and {copy.name}.gz" in capfd.readouterr().err


def test_two_copies_on_a_web_server_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    with files_server.serve(b"") as files:
        files.other_files = {f"/data/{name}": content for name, content in REVIEWS.items()}
        files.other_files["/data/ratings_test.txt.gz"] = b"another version"
        assert prepare("nsmc", files.url, tmp_path / "data") == 2
    assert "contains both ratings_test.txt and ratings_test.txt.gz" in capfd.readouterr().err


def test_a_partition_that_is_a_link_is_read(folder: Path, tmp_path: Path) -> None:
    """A mounted Kubernetes volume consists of links."""
    header, *rows = patients()
    write_csv(folder / "a.csv", [header, *rows[:220]])
    write_csv(tmp_path / "elsewhere/part-0.csv", [header, *rows[220:]])
    (folder / "dt=1").symlink_to(tmp_path / "elsewhere")
    (folder / "dt=2").symlink_to(folder)
    assert prepare("diabetes", folder, tmp_path / "data") == 0
    splits = Dataset.open(tmp_path / "data").manifest.splits.values()
    assert sum(split.rows for split in splits) == 442


def with_mark(content: bytes) -> bytes:
    return codecs.BOM_UTF8 + content


def with_empty_lines(content: bytes) -> bytes:
    return content + b"\n\r\n  \n\n"


def without_last_newline(content: bytes) -> bytes:
    return content.removesuffix(b"\n")


@pytest.mark.parametrize("change", [with_mark, with_empty_lines, without_last_newline])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_mark_empty_last_lines_and_a_missing_newline_of_a_table_have_no_effect(
    folder: Path, tmp_path: Path, change: Callable[[bytes], bytes], compress: Callable[[bytes], bytes]
) -> None:
    write_csv(tmp_path / "plain/a.csv", patients())
    content = compress(change((tmp_path / "plain/a.csv").read_bytes()))
    (folder / ("a.csv" if compress is bytes else "a.csv.gz")).write_bytes(content)
    assert fingerprint("diabetes", folder, tmp_path / "data") == fingerprint(
        "diabetes", tmp_path / "plain", tmp_path / "expected"
    )


REVIEWS = {name: (Path(nsmc.__file__).parent / "sample" / name).read_bytes() for name in nsmc.FILES.values()}


@pytest.fixture
def plain_reviews(tmp_path: Path) -> str:
    """The fingerprint of the sample."""
    return fingerprint("nsmc", "nsmc:sample", tmp_path / "expected")


def without_last_newline(content: bytes) -> bytes:
    return content.removesuffix(b"\n")


@pytest.mark.parametrize("change", [with_mark, with_empty_lines, without_last_newline])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_mark_empty_last_lines_and_a_missing_newline_of_reviews_have_no_effect(
    folder: Path,
    tmp_path: Path,
    plain_reviews: str,
    change: Callable[[bytes], bytes],
    compress: Callable[[bytes], bytes],
) -> None:
    for name, content in REVIEWS.items():
        (folder / name).write_bytes(compress(change(content)))
    assert fingerprint("nsmc", folder, tmp_path / "data") == plain_reviews


def test_the_names_of_review_files_are_found_in_any_case(
    folder: Path, tmp_path: Path, plain_reviews: str
) -> None:
    (folder / "ratings_train.TXT").write_bytes(REVIEWS["ratings_train.txt"])
    (folder / "RATINGS_TEST.TXT.GZ").write_bytes(gzip.compress(REVIEWS["ratings_test.txt"]))
    assert fingerprint("nsmc", folder, tmp_path / "data") == plain_reviews


def test_reviews_of_a_bucket_with_a_mark_and_empty_lines_are_read(
    bucket: Bucket, tmp_path: Path, plain_reviews: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    prefix = bucket.folder / "some/prefix"
    prefix.mkdir(parents=True)
    for name, content in REVIEWS.items():
        (prefix / name).write_bytes(with_empty_lines(with_mark(content)))
    assert fingerprint("nsmc", bucket.uri, tmp_path / "data") == plain_reviews


def test_reviews_of_a_web_server_with_a_mark_and_empty_lines_are_read(
    tmp_path: Path, plain_reviews: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    with files_server.serve(b"") as files:
        files.other_files = {
            f"/data/{name}": with_empty_lines(with_mark(content)) for name, content in REVIEWS.items()
        }
        assert fingerprint("nsmc", files.url, tmp_path / "data") == plain_reviews
