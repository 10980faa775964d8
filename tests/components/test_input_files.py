"""prep-data reads files with a byte order mark, empty last lines, other suffixes, and partitions."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

import workloads.nsmc.workload as nsmc
from components.prep_data.step import run
from continuous_training.artifacts.dataset import Dataset
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
        ("2024/12/31.csv", "2025/01/01.CSV"),
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


def with_mark(content: bytes) -> bytes:
    return codecs.BOM_UTF8 + content


def with_empty_lines(content: bytes) -> bytes:
    return content + b"\n\r\n  \n\n"


@pytest.mark.parametrize("change", [with_mark, with_empty_lines])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_byte_order_mark_and_empty_last_lines_of_a_table_have_no_effect(
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


@pytest.mark.parametrize("change", [with_mark, with_empty_lines])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_byte_order_mark_and_empty_last_lines_of_reviews_have_no_effect(
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
