"""prep-data reads Parquet files and partitioned datasets, in a folder, a bucket and from a web server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from continuous_training.artifacts.dataset import Dataset
from tests import files_server
from tests.s3 import ACCESS, Bucket

from .test_bad_rows import patients, prepare, write_csv


def table(rows: slice = slice(None), **columns: Any) -> pa.Table:
    """Return rows of the diabetes data with the types of its columns."""
    header, *texts = patients()
    values = np.array(texts[rows], dtype=float)
    arrays = {name: values[:, i] for i, name in enumerate(header)}
    arrays["sex"] = arrays["sex"].astype(np.int8)
    return pa.table({**arrays, **columns})


@pytest.fixture
def expected(tmp_path: Path) -> str:
    """The fingerprint of the same rows as CSV."""
    write_csv(tmp_path / "csv/a.csv", patients())
    return fingerprint(tmp_path / "csv", tmp_path / "expected")


def fingerprint(source: Path | str, output: Path) -> str:
    assert prepare("diabetes", source, output) == 0
    manifest = Dataset.open(output).manifest
    assert sum(split.rows for split in manifest.splits.values()) == 442
    return manifest.fingerprint


def failure(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], *settings: str) -> str:
    assert prepare("diabetes", source, tmp_path / "data", *settings) == 2
    return capfd.readouterr().err.partition("error: ")[2]


def test_parquet_files_have_the_rows_of_csv_files(folder: Path, tmp_path: Path, expected: str) -> None:
    header, *rows = patients()
    pq.write_table(table(slice(0, 100)), folder / "a.parquet")
    pq.write_table(table(slice(100, 220)).select(header[::-1]), folder / "b.PARQUET", compression="zstd")
    pq.write_table(table().slice(0, 0), folder / "empty.snappy.parquet")
    write_csv(folder / "c.csv", [header, *rows[220:]])
    assert fingerprint(folder, tmp_path / "data") == expected
    assert prepare("diabetes", folder / "*.parquet", tmp_path / "data") == 0


@pytest.mark.parametrize("keys", [["dt"], ["sex"], ["dt", "sex"]])
def test_a_partitioned_dataset_is_read(folder: Path, tmp_path: Path, expected: str, keys: list[str]) -> None:
    """The column `sex` is a column of the workload, and `dt` is not."""
    dates = pa.array([f"2025-01-{1 + row % 3:02d}" for row in range(442)])
    rows = table(dt=dates) if "dt" in keys else table()
    schema = pa.schema([rows.schema.field(key) for key in keys])
    ds.write_dataset(rows, folder, format="parquet", partitioning=ds.partitioning(schema, flavor="hive"))
    (folder / "_SUCCESS").touch()
    (folder / "_metadata").touch()
    assert fingerprint(folder, tmp_path / "data") == expected
    files = Dataset.open(tmp_path / "data").manifest.source_files
    assert files is not None
    assert files.omitted == {"marker": 2}


def test_bad_rows_of_a_parquet_file_are_set_aside(folder: Path, tmp_path: Path) -> None:
    ages: list[float | None] = table()["age"].to_pylist()
    sexes = [float(sex) for sex in table()["sex"].to_pylist()]
    ages[3], ages[7], sexes[9] = None, float("nan"), 1.5
    pq.write_table(table(age=pa.array(ages), sex=pa.array(sexes)), folder / "a.parquet")
    assert prepare("diabetes", folder, tmp_path / "data", "bad_rows=3") == 0
    positions = {
        row.row: (row.file, row.column, row.type) for row in Dataset.open(tmp_path / "data").bad_rows()
    }
    assert positions == {
        4: ("a.parquet", "age", "missing value"),
        8: ("a.parquet", "age", "not finite"),
        10: ("a.parquet", "sex", "not an integer"),
    }


def test_files_that_are_no_such_tables_are_rejected(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder / "a.parquet"
    pq.write_table(table(age=pa.array(["59"] * 442)), path)
    assert "a.parquet, column age: the type is string; numbers are expected" in failure(
        folder, tmp_path, capfd
    )
    pq.write_table(table(colour=pa.array(range(442))).drop(["age"]), path)
    assert "(unknown colour; missing age). Expected: age, sex" in failure(folder, tmp_path, capfd)
    pq.write_table(table(), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "a.parquet: cannot be read" in failure(folder, tmp_path, capfd)
    (folder / "sex=female").mkdir()
    pq.write_table(table().drop(["sex"]), folder / "sex=female/part-0.parquet")
    path.unlink()
    assert "column sex: 'female' of the partition is not a number" in failure(folder, tmp_path, capfd)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])


@pytest.mark.usefixtures("keys")
def test_a_bucket_is_read_as_a_folder(
    bucket: Bucket, tmp_path: Path, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    header, *rows = patients()
    prefix = bucket.folder / "some/prefix"
    write_csv(prefix / "a.csv", [header, *rows[:100]])
    for number, part in ((1, slice(100, 220)), (2, slice(220, 442))):
        (prefix / f"dt={number}").mkdir()
        pq.write_table(table(part), prefix / f"dt={number}/part-0.parquet")
    write_csv(bucket.folder / "some/other/2024/b.csv", [header, rows[0]])
    (prefix / "_SUCCESS").touch()
    (prefix / ".hidden.csv").write_text("x")
    assert fingerprint(bucket.uri, tmp_path / "data") == expected
    files = json.loads((tmp_path / "data/dataset.json").read_text())["source_files"]["omitted"]
    assert files == {"hidden": 1, "marker": 1}
    # The second time, nothing is downloaded.
    assert fingerprint(bucket.uri, tmp_path / "data") == expected
    assert "part-0.parquet has not changed since it was downloaded" in capfd.readouterr().err
    one = bucket.uri.replace("/prefix", "/prefix/dt=2/part-0.parquet")
    assert prepare("diabetes", one, tmp_path / "data", "expected_rows=222") == 0
    assert prepare("diabetes", bucket.uri.replace("/prefix", "/other"), tmp_path / "data") == 2
    assert "the subfolder 2024 contains 2024/b.csv" in capfd.readouterr().err


@pytest.mark.usefixtures("keys")
def test_a_file_of_a_web_server_is_read(
    tmp_path: Path, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    with files_server.serve(b"") as files:
        files.other_files = {
            "/data/a.parquet": (tmp_path / "a.parquet").read_bytes(),
            "/data/a.csv": (tmp_path / "csv/a.csv").read_bytes(),
        }
        for name in ("a.csv", "a.parquet"):
            assert fingerprint(f"{files.url}/{name}", tmp_path / "data") == expected
        assert prepare("diabetes", files.url, tmp_path / "data") == 2
        assert "a web server does not list its files" in capfd.readouterr().err
        # A table without a length is cut at the end of a line.
        files.length, files.etag = False, ""
        files.cuts = [files.other_files["/data/a.csv"].index(b"\n", 9000) + 1]
        assert prepare("diabetes", f"{files.url}/a.csv", tmp_path / "data") == 0
    document = json.loads((tmp_path / "data/dataset.json").read_text())
    assert document["source_files"]["incomplete"] == [f"{files.url}/a.csv"]
