"""prep-data sets bad rows aside: types, limit, stored rows, and errors that no limit allows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import workloads.nsmc.workload as nsmc
from components.prep_data.__main__ import main
from components.prep_data.step import run
from continuous_training.artifacts.bad_rows import BAD_ROWS, BadRow
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.errors import UserError
from workloads import discovery
from workloads.contract import BadRowType, GroupSplit, Parameter, Rows, Split, TimeSplit, Workload
from workloads.validation import check_workload

from . import split_data

Make = Callable[..., Workload]


def prepare(workload: str, source: Path | str, output: Path, *settings: str) -> int:
    """Run the command of the step. Return its exit code."""
    options = [part for setting in (f"source={source}", *settings) for part in ("--set", setting)]
    return main(["--workload", workload, "--output", str(output), *options])


def patients() -> list[list[str]]:
    """Return the header and the 442 rows of the diabetes data."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    rows = np.column_stack([data.data, data.target])
    texts = [[f"{value:g}" for value in row] for row in rows.tolist()]
    return [[*data.feature_names, "progression"], *texts]


def write_csv(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    path.write_text(buffer.getvalue(), encoding="utf-8", errors="surrogateescape")


@pytest.fixture
def daily(folder: Path) -> Path:
    """Two daily files of patients. The second contains seven bad rows."""
    header, *rows = patients()
    valid = rows[300]
    bad = [
        valid[:-1],
        ["abc", *valid[1:]],
        ["", *valid[1:]],
        ["\udcff", *valid[1:]],
        [valid[0], "1.5", *valid[2:]],
        ["inf", *valid[1:]],
        ["500", *valid[1:]],
    ]
    write_csv(folder / "2025-01-01.csv", [header, *rows[:220]])
    write_csv(folder / "2025-01-02.csv", [header, *rows[220:300], *bad, *rows[300:]])
    return folder


TYPES = {
    "invalid encoding": 1,
    "missing value": 1,
    "not a number": 1,
    "not an integer": 1,
    "not finite": 1,
    "out of range": 1,
    "wrong number of fields": 1,
}


@pytest.mark.parametrize("limit", ["7", "0.0156"])
def test_bad_rows_of_csv_files_are_counted_and_stored(
    daily: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], limit: str
) -> None:
    assert prepare("diabetes", daily, tmp_path / "data", f"bad_rows={limit}") == 0
    dataset = Dataset.open(tmp_path / "data")
    counts = dataset.manifest.bad_rows
    assert counts is not None
    assert (counts.rows, counts.types, counts.limit) == (7, TYPES, float(limit))
    assert sum(split.rows for split in dataset.manifest.splits.values()) == 442
    positions = {row.row: (row.file, row.column, row.type) for row in dataset.bad_rows()}
    assert positions == {
        82: ("2025-01-02.csv", "", "wrong number of fields"),
        83: ("2025-01-02.csv", "age", "not a number"),
        84: ("2025-01-02.csv", "age", "missing value"),
        85: ("2025-01-02.csv", "age", "invalid encoding"),
        86: ("2025-01-02.csv", "sex", "not an integer"),
        87: ("2025-01-02.csv", "age", "not finite"),
        88: ("2025-01-02.csv", "age", "out of range"),
    }
    lines = (tmp_path / "data" / BAD_ROWS).read_text(encoding="utf-8").splitlines()
    assert {tuple(json.loads(line)) for line in lines} == {("file", "row", "column", "type", "message")}
    document = json.loads((tmp_path / "data/dataset.json").read_text())["bad_rows"]
    assert (document["rows"], document["types"], document["limit"]) == (7, TYPES, float(limit))
    assert "7 rows set aside: 1 invalid encoding, 1 missing value" in capfd.readouterr().err


def test_the_rows_are_the_same_as_without_the_bad_rows(daily: Path, tmp_path: Path) -> None:
    workload = discovery.get("diabetes")
    write_csv(tmp_path / "plain/a.csv", patients())
    with_bad_rows = run(workload, {"source": str(daily), "bad_rows": 7}, tmp_path / "data")
    plain = run(workload, {"source": str(tmp_path / "plain")}, tmp_path / "expected")
    assert with_bad_rows == plain
    assert not (tmp_path / "expected" / BAD_ROWS).exists()
    counts = Dataset.open(tmp_path / "expected").manifest.bad_rows
    assert counts is not None
    assert (counts.rows, counts.types) == (0, {})


@pytest.mark.parametrize("limit", ["6", "0.0155"])
def test_more_bad_rows_than_the_limit_are_rejected(
    daily: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], limit: str
) -> None:
    assert prepare("diabetes", daily, tmp_path / "data", f"bad_rows={limit}") == 2
    message = capfd.readouterr().err
    assert "7 of 449 rows are bad (1 invalid encoding, 1 missing value" in message
    assert "2025-01-02.csv, row 82: 10 columns where 11 are expected" in message
    assert not (tmp_path / "data").exists()


def test_by_default_the_first_bad_row_is_rejected(
    daily: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare("diabetes", daily, tmp_path / "data") == 2
    assert "error: 2025-01-02.csv, row 82: 10 columns where 11 are expected" in capfd.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_workload_declares_the_limit_and_the_parameter_overrides_it(make: Make, tmp_path: Path) -> None:
    x = pa.array([*np.linspace(0, 100, 98), 101.0, float("nan")])
    ids = pa.array([f"row {n}" for n in range(100)])
    batch = pa.record_batch({"id": ids, "x": x, "label": pa.array([0, 1] * 50)})
    rows = [Rows(batch, "a.csv", 2)]
    workload = make(batches=rows, bad_rows=0.02)
    run(workload, {}, tmp_path / "data")
    bad_rows = list(Dataset.open(tmp_path / "data").bad_rows())
    assert bad_rows == [
        BadRow("a.csv", 100, BadRowType.OUT_OF_RANGE, "101.0 is over 100", "x"),
        BadRow("a.csv", 101, BadRowType.NOT_FINITE, "nan is not a finite number", "x"),
    ]
    with pytest.raises(UserError, match=r"2 of 100 rows are bad .*; at most 1 may be set aside"):
        run(workload, {"bad_rows": 1}, tmp_path / "other")
    with pytest.raises(UserError, match=r"^a\.csv, row 100, column x: 101.0 is over 100 \(and 1 more rows"):
        run(workload, {"bad_rows": 0}, tmp_path / "other")


def test_a_bad_value_of_every_column_is_set_aside(make: Make, tmp_path: Path) -> None:
    def rows(name: str, value: Any) -> Rows:
        columns: dict[str, list[Any]] = {
            "id": [f"{name} {n}" for n in range(100)],
            "x": [1.0] * 100,
            "label": [0, 1] * 50,
            "split": ["train", "train", "holdout", "holdout"] * 25,
        }
        columns[name][0] = value
        return Rows(pa.record_batch({name: pa.array(cells) for name, cells in columns.items()}), name)

    batches = [rows("id", None), rows("x", None), rows("label", 2), rows("split", "test")]
    run(make(batches=batches, bad_rows=4), {}, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    assert [(row.file, row.row, row.column, row.type) for row in dataset.bad_rows()] == [
        ("id", 1, "id", "missing value"),
        ("x", 1, "x", "missing value"),
        ("label", 1, "label", "not an allowed value"),
        ("split", 1, "split", "not an allowed value"),
    ]
    assert sum(split.rows for split in dataset.manifest.splits.values()) == 396


def test_bad_rows_of_reviews_are_set_aside(folder: Path, tmp_path: Path) -> None:
    sample = Path(nsmc.__file__).parent / "sample"
    for name in nsmc.FILES.values():
        (folder / name).write_bytes((sample / name).read_bytes())
    bad = [b"1\tgood", b"2\tgood\tgood", b"3\tgo\xffd\t1", b"4\tgood\t5", b"5\tgood\t", b"\xff6\tgood\tx"]
    path = folder / "ratings_train.txt"
    head, *rows = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([head, *rows[:400], *bad, *rows[400:]]) + b"\n")
    assert prepare("nsmc", folder, tmp_path / "other") == 2
    assert prepare("nsmc", folder, tmp_path / "data", "bad_rows=6") == 0
    dataset = Dataset.open(tmp_path / "data")
    assert {row.row: (row.file, row.column, row.type) for row in dataset.bad_rows()} == {
        402: ("ratings_train.txt", "", "wrong number of fields"),
        403: ("ratings_train.txt", "label", "not a number"),
        404: ("ratings_train.txt", "document", "invalid encoding"),
        405: ("ratings_train.txt", "label", "not an allowed value"),
        406: ("ratings_train.txt", "label", "missing value"),
        407: ("ratings_train.txt", "id", "invalid encoding"),
    }
    assert {name: split.rows for name, split in dataset.manifest.splits.items()} == {
        "train": 800,
        "holdout": 200,
    }


def test_a_row_that_is_set_aside_does_not_count_for_other_checks(make: Make, tmp_path: Path) -> None:
    labels = [0] * 99 + [1]
    x = [*np.linspace(0, 99, 99), 101.0]
    ids = pa.array([f"row {n}" for n in range(100)])
    rows = pa.record_batch({"id": ids, "x": pa.array(x), "label": pa.array(labels)})
    with pytest.raises(UserError, match="label 1 does not occur"):
        run(make(batches=[Rows(rows, "a.csv")], bad_rows=0.5), {}, tmp_path / "data")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["age", "sex"], ["1", "2"]], "unexpected column names"),
        ([], "is empty"),
        ([["59;2"], ["59;2"]], "all 2 rows are bad"),
    ],
)
def test_an_error_of_a_whole_file_stops_the_run(
    daily: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], rows: list[list[str]], message: str
) -> None:
    write_csv(daily / "2025-01-03.csv", rows)
    assert prepare("diabetes", daily, tmp_path / "data", "bad_rows=100") == 2
    assert message in capfd.readouterr().err


def test_a_duplicate_key_is_not_a_bad_row(make: Make, tmp_path: Path) -> None:
    ids = pa.array([f"row {n % 99}" for n in range(100)])
    rows = pa.record_batch(
        {"id": ids, "x": pa.array(np.linspace(0, 100, 100)), "label": pa.array([0, 1] * 50)}
    )
    with pytest.raises(UserError, match=r"row 100, column id: the same key as in a\.csv, row 1"):
        run(make(batches=[Rows(rows, "a.csv")], bad_rows=0.5), {}, tmp_path / "data")


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_file_of_bad_rows_is_rejected(daily: Path, tmp_path: Path, damage: str) -> None:
    run(discovery.get("diabetes"), {"source": str(daily), "bad_rows": 7}, tmp_path / "data")
    path = tmp_path / "data" / BAD_ROWS
    if damage == "change":
        path.write_text(path.read_text(encoding="utf-8").replace("row", "Row", 1), encoding="utf-8")
    else:
        path.unlink()
    with pytest.raises(UserError, match=r"bad_rows\.jsonl is damaged or missing"):
        list(Dataset.open(tmp_path / "data").bad_rows())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", r"-1 is less than 0\. Pass a number of at least 0"),
        ("x", "'x' is not a number of at least 0"),
        ("nan", "'nan' is not a number of at least 0"),
    ],
)
def test_an_invalid_limit_is_an_error(value: str, message: str) -> None:
    with pytest.raises(UserError, match=f"parameter bad_rows: {message}"):
        discovery.get("diabetes").parse({"bad_rows": value})


def test_positions_are_correct_after_bad_rows(make: Make, tmp_path: Path) -> None:
    """The positions of a duplicate key, in batches that end at rows that the reader set aside."""
    ids = [f"row {n}" for n in range(60)]
    x = np.linspace(0, 99, 60)

    def part(begin: int, end: int, first: int) -> Rows:
        labels = pa.array(np.arange(begin, end) % 2)
        columns = {"id": pa.array(ids[begin:end]), "x": pa.array(x[begin:end]), "label": labels}
        return Rows(pa.record_batch(columns), "a.csv", first)

    ids[59] = "row 30"
    x[40] = 101
    workload = make(batches=[part(0, 20, 2), part(20, 50, 25), part(50, 60, 100)], bad_rows=5)
    with pytest.raises(UserError, match=r"a\.csv, row 109, column id: the same key as in a\.csv, row 35 "):
        run(workload, {}, tmp_path / "data")


DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


@pytest.mark.parametrize(
    ("split", "column", "values", "type"),
    [
        (GroupSplit("shop"), "shop", ["a", " ", "b", "c", "d"] * 200, "missing value"),
        (
            TimeSplit("date"),
            "date",
            ["2024-01-01", "2024-02-31", "2024-01-02", "", "2024-01-03"] * 200,
            "not a time",
        ),
    ],
)
def test_a_bad_value_of_the_column_that_rows_are_split_by_is_set_aside(
    make: Make, tmp_path: Path, split: Split, column: str, values: list[str], type: str
) -> None:
    bad = [value.strip() in {"", "2024-02-31"} for value in values]
    batch = split_data.rows(**{column: values})
    run(split_data.workload(make, batch, split=split, bad_rows=0.4), {}, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    bad_rows = list(dataset.bad_rows())
    assert [row.row for row in bad_rows] == [n for n, is_bad in enumerate(bad, 1) if is_bad]
    assert {(row.file, row.column, row.type) for row in bad_rows} == {("sales.csv", column, type)}
    assert sum(side.rows for side in dataset.manifest.splits.values()) == 1000 - sum(bad)


@pytest.mark.parametrize("limit", [-1, "1 %", True, float("nan"), float("inf")])
def test_a_workload_with_an_invalid_limit_is_rejected(make: Make, limit: Any) -> None:
    workload = type(make(bad_rows=limit))
    with pytest.raises(UserError, match=r"bad_rows is .*; give a number of rows, or a share below 1"):
        check_workload(workload, "workload.py", workload.name)


def test_a_parameter_of_a_workload_must_have_another_name(make: Make) -> None:
    workload = type(make(own_parameters=(Parameter("bad_rows", 0, "other rows"),)))
    with pytest.raises(UserError, match=r"bad_rows is a run parameter of all workloads"):
        check_workload(workload, "workload.py", workload.name)
