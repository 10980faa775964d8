"""Tables of numbers: every fault names its file, row and column."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from adapters.errors import UserError
from workloads.contract import Column
from workloads.tables import BLOCK, matching_files, read_numbers, to_arrow


def read(source: Path | str, width: int = 2) -> np.ndarray:
    return np.concatenate([block.values for block in read_numbers(str(source), width)])


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_numbers_are_read_as_they_stand(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "1,2\n-0.5,1e3\r\n\n3,4")
    assert read(path).tolist() == [[1, 2], [-0.5, 1000], [3, 4]]


def test_a_folder_and_a_glob_give_their_files_in_order(tmp_path: Path) -> None:
    for name, text in (("b.csv", "3,3\n"), ("a.csv.gz", "1,1\n2,2\n"), ("notes.txt", "x")):
        write(tmp_path / name, text)
    blocks = list(read_numbers(str(tmp_path), 2))
    assert [block[:3] for block in blocks] == [("a.csv.gz", 1, 1), ("b.csv", 1, 3)]
    assert read(tmp_path / "*.csv*").tolist() == read(tmp_path).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_relative_glob_is_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.csv", "1,2\n")
    monkeypatch.chdir(tmp_path)
    assert read("*.csv").tolist() == [[1, 2]]


def test_a_block_knows_its_rows_in_the_file_and_in_the_source(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "1,2\n" * (BLOCK + 3))
    write(tmp_path / "b.csv", "\n5,6\n7,8\n\n\n9,9\n")
    blocks = list(read_numbers(str(tmp_path), 2))
    assert [(block.origin, block.first, block.number, len(block.values)) for block in blocks] == [
        ("a.csv", 1, 1, BLOCK),
        ("a.csv", BLOCK + 1, BLOCK + 1, 3),
        ("b.csv", 2, BLOCK + 4, 2),
        ("b.csv", 6, BLOCK + 6, 1),
    ]


@pytest.mark.parametrize("source", ["missing.csv", "*.none", "."])
def test_a_source_that_matches_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"matches nothing: give a file, or a folder that holds \.csv"):
        matching_files(source, (".csv",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a.csv: the file is empty; a table of 2 columns is expected"),
        ("\n\n", "a.csv: the file is empty"),
        ("1,2\n1,2,3\n", "a.csv, row 2: 3 columns where 2 are expected"),
        ("1,2\n\n1\n", "a.csv, row 3: 1 columns where 2 are expected"),
        ("1,2\n1,two\n", "a.csv, row 2, column 2: 'two' is not a number"),
        ("a,b\n1,2\n", "a.csv, row 1, column 1: 'a' is not a number"),
        ("1,\n", "a.csv, row 1, column 2: '' is not a number"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        read(write(tmp_path / "a.csv", text))
    assert words in str(refused.value)


def damaged(kind: str) -> bytes:
    whole = gzip.compress(("1,2\n" * 5000).encode())
    return {
        "truncated": whole[:-20],
        "flipped": whole[:12] + bytes(b ^ 0xFF for b in whole[12:40]) + whole[40:],
        "no gzip": b"1,2\n",
        "bytes": gzip.compress(b"1,2\n\xff\xfe\n"),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "flipped", "no gzip", "bytes"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.csv.gz").write_bytes(damaged(kind))
    with pytest.raises(UserError, match=r"a\.csv\.gz: cannot be read .*; is it whole, and text\?"):
        read(tmp_path / "a.csv.gz")


def test_a_folder_among_the_matches_and_a_field_without_end_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match=r"a\.csv: cannot be read"):
        read(tmp_path / "*.csv")
    write(tmp_path / "b.csv", f'1,"{"2" * 200_000}"\n')
    with pytest.raises(UserError, match=r"b\.csv: cannot be read .*field larger"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 1e300])
def test_a_whole_number_that_is_none_is_named(value: float) -> None:
    column = Column("label", "integer")
    with pytest.raises(UserError, match=rf"a\.csv, row 8, column label: {value:g}".replace("+", r"\+")):
        to_arrow(column, np.array([1, value]), "a.csv", 7)


def test_whole_numbers_and_others_get_their_columns_type() -> None:
    assert str(to_arrow(Column("a", "integer"), np.array([1.0, -2.0]), "a.csv", 1).type) == "int64"
    assert str(to_arrow(Column("a", "number"), np.array([1.5]), "a.csv", 1).type) == "double"
