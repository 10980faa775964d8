"""Tests of the CSV reader: each error message contains the file, the row and the column."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.artifacts.bad_rows import BadRow
from continuous_training.core.errors import UserError
from workloads import csv_table
from workloads.contract import Column
from workloads.csv_reader import BLOCK, distinct_rows, read_numbers, to_arrow
from workloads.data_files import matching_files

AB = ("a", "b")


def read(source: Path | str) -> np.ndarray:
    return np.concatenate([block.values for block in read_numbers(str(source), AB)])


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_numbers_are_read_unchanged(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "1,2\n-0.5,1e3\r\n\n3,4")
    assert read(path).tolist() == [[1, 2], [-0.5, 1000], [3, 4]]


def test_a_folder_and_a_glob_return_their_files_in_order(tmp_path: Path) -> None:
    for name, text in (("b.csv", "3,3\n"), ("a.csv.gz", "1,1\n2,2\n"), ("notes.txt", "x")):
        write(tmp_path / name, text)
    blocks = list(read_numbers(str(tmp_path), AB))
    assert [block[:3] for block in blocks] == [("a.csv.gz", 1, 1), ("b.csv", 1, 3)]
    assert read(tmp_path / "*.csv*").tolist() == read(tmp_path).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_relative_glob_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.csv", "1,2\n")
    monkeypatch.chdir(tmp_path)
    assert read("*.csv").tolist() == [[1, 2]]


def test_a_block_has_its_row_numbers_in_the_file_and_in_the_source(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "1,2\n" * (BLOCK + 3))
    write(tmp_path / "b.csv", "\n5,6\n7,8\n\n\n9,9\n")
    blocks = list(read_numbers(str(tmp_path), AB))
    assert [(block.origin, block.first, block.number, len(block.values)) for block in blocks] == [
        ("a.csv", 1, 1, BLOCK),
        ("a.csv", BLOCK + 1, BLOCK + 1, 3),
        ("b.csv", 2, BLOCK + 4, 2),
        ("b.csv", 6, BLOCK + 6, 1),
    ]


@pytest.mark.parametrize("source", ["missing.csv", "*.none", "."])
def test_a_source_that_matches_no_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"matches nothing: give a file, or a folder with \.csv"):
        matching_files(source, (".csv",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: the file is empty; a table of 2 columns is expected"),
        ("\n\n", "a.csv: the file is empty"),
        ("1,2\n1,2,3\n", "a.csv, row 2: 3 columns where 2 are expected"),
        ("1,2\n\n1\n", "a.csv, row 3: 1 columns where 2 are expected"),
        ("1,2\n1,two\n", "a.csv, row 2, column b: 'two' is not a number"),
        ("1,\n", "a.csv, row 1, column b: '' is not a number"),
        ("1,5_9.0\n", "a.csv, row 1, column b: '5_9.0' is not a number"),
        ("1;2\n", "1 columns where 2 are expected (use commas as separators, not semicolons)"),
        ("a\tb\n1\t2\n", "(use commas as separators, not tabs)"),
        (
            "a,c\n1,2\n",
            "a.csv, row 1: unexpected column names (unknown 'c'; missing b)",
        ),
        ("a,b,b\n1,2,3\n", "(a name occurs twice). Expected: a, b, in any order"),
        ("a,b\n1,2\na,b\n", "a.csv, row 3, column a: 'a' is not a number"),
        ("b,a\n1,2\n3,x\n", "a.csv, row 3, column a: 'x' is not a number"),
        ("a,b\n", "a.csv: the file is empty"),
    ],
)
def test_an_invalid_row_is_an_error_with_file_and_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read(write(tmp_path / "a.csv", text))
    assert message in str(error.value)


def damaged(kind: str) -> bytes:
    complete = gzip.compress(("1,2\n" * 5000).encode())
    return {
        "truncated": complete[:-20],
        "flipped": complete[:12] + bytes(b ^ 0xFF for b in complete[12:40]) + complete[40:],
        "no gzip": b"1,2\n",
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "flipped", "no gzip"])
def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.csv.gz").write_bytes(damaged(kind))
    with pytest.raises(UserError, match=r"a\.csv\.gz: cannot be read .*must be complete"):
        read(tmp_path / "a.csv.gz")


@pytest.mark.parametrize("text", [f'1,"{"2" * 200_000}"\n', '1,"2\n', '"1,2\n3,4"\n'])
def test_a_field_without_end_is_an_error(tmp_path: Path, text: str) -> None:
    write(tmp_path / "b.csv", text)
    with pytest.raises(UserError, match=r"b\.csv, row 1: 1 columns where 2 are expected"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2\n3,\xff\n", r"a\.csv, row 2, column b: .* is not encoded in UTF-8"),
        ("1,2\n".encode("utf-16"), r"a\.csv: the file is encoded in UTF-16"),
    ],
)
def test_another_encoding_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.csv")


def test_bad_rows_are_set_aside_with_their_position(tmp_path: Path) -> None:
    lines = [b"b,a", b"1,2", b"1", b"x,2", b",2", b'"3,4', b"1.5,6", b"3,\xff", b"nan,2", b"9,8", b"", b" "]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    bad_rows: list[BadRow] = []
    blocks = list(read_numbers(str(tmp_path), AB, integers=("b",), set_aside=bad_rows.append))
    assert [(block.first, block.number, block.values.tolist()) for block in blocks] == [
        (2, 1, [[2, 1]]),
        (10, 2, [[8, 9]]),
    ]
    assert [(row.file, row.row, row.column, row.type) for row in bad_rows] == [
        ("a.csv", 3, "", "wrong number of fields"),
        ("a.csv", 4, "b", "not a number"),
        ("a.csv", 5, "b", "missing value"),
        ("a.csv", 6, "", "wrong number of fields"),
        ("a.csv", 7, "b", "not an integer"),
        ("a.csv", 8, "a", "invalid encoding"),
        ("a.csv", 9, "b", "not an integer"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,c\n1,2\n", "unexpected column names"), ("", "is empty"), ("1;2\n3;4\n", "all 2 rows are bad")],
)
def test_an_error_of_the_whole_file_is_not_a_bad_row(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "a.csv", "1,2\n")
    write(tmp_path / "b.csv", text)
    with pytest.raises(UserError, match=rf"b\.csv.*{message}"):
        list(read_numbers(str(tmp_path), AB, set_aside=lambda _: None))


def test_a_glob_that_matches_only_folders_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "2024").mkdir()
    write(tmp_path / "2024" / "a.csv", "1,2\n")
    with pytest.raises(UserError, match=r"matches only folders .*, for instance .*/\*/\*\.csv$"):
        read(tmp_path / "*")
    assert read(tmp_path / "**" / "*.csv").tolist() == [[1, 2]]
    # Since Python 3.13 `x**` is a valid pattern, which matches nothing here.
    with pytest.raises(UserError, match=r"source '.*x\*\*'"):
        read(tmp_path / "x**")


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "b,a\n2,1\n", " B ,A\n2,1\n", "\ufeffa,b\n1,2\n", "\ufeff1,2\n"]
)
def test_a_header_in_any_order_and_a_byte_order_mark_are_accepted(tmp_path: Path, text: str) -> None:
    (block,) = read_numbers(str(write(tmp_path / "a.csv", text)), AB)
    assert block.values.tolist() == [[1, 2]]
    assert block.first == (1 if "a" not in text.lower() else 2)


def test_a_key_depends_only_on_the_content_of_the_row(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", "1,2\n3,4\n0,-0.0\n")
    before = {
        tuple(row): key for block, keys in rows_of(tmp_path) for row, key in zip(block, keys, strict=True)
    }
    write(tmp_path / "a.csv", "b,a\n7,8\n2.0,1e0\n")
    after = {
        tuple(row): key for block, keys in rows_of(tmp_path) for row, key in zip(block, keys, strict=True)
    }
    assert before.items() < after.items()
    assert len(set(after.values())) == len(after) == 4


def rows_of(folder: Path) -> list[tuple[list[list[float]], list[str]]]:
    return [
        (block.values.tolist(), keys.to_pylist())
        for block, keys in distinct_rows(read_numbers(str(folder), AB))
    ]


def test_keys_of_earlier_versions_do_not_change(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "1,2\n-0.0,1e-300\n0.1,3\n")
    ((_, keys),) = rows_of(tmp_path)
    assert keys == [
        "dc91ce9a50ddc828740aa26743716897",
        "ecdca666b7d3c2c35acb160bed24b684",
        "3308ea97ae21c9ccead68f416376f28f",
    ]


def test_duplicate_rows_are_removed_and_row_numbers_stay_correct(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "1,1\n2,2\n1,1\n3,3\n1,1\n")
    write(tmp_path / "b.csv", "2,2\n4,4\n")
    blocks = [
        (block.origin, block.first, block.number, block.values[:, 0].tolist(), len(keys))
        for block, keys in distinct_rows(read_numbers(str(tmp_path), AB))
    ]
    assert blocks == [("a.csv", 1, 1, [1, 2], 2), ("a.csv", 4, 4, [3], 1), ("b.csv", 2, 7, [4], 1)]


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 1e300])
def test_an_invalid_integer_is_an_error(value: float) -> None:
    column = Column("label", "integer")
    with pytest.raises(UserError, match=rf"a\.csv, row 8, column label: {value:g}".replace("+", r"\+")):
        to_arrow(column, np.array([1, value]), "a.csv", 7)


def test_values_get_the_type_of_their_column() -> None:
    assert str(to_arrow(Column("a", "integer"), np.array([1.0, -2.0]), "a.csv", 1).type) == "int64"
    assert str(to_arrow(Column("a", "number"), np.array([1.5]), "a.csv", 1).type) == "double"


CELLS = ["1", "-2.5", "+3", "1e3", ".5", "7.", "1e999", "-0", "0x1", "1_0", "nan", "inf", "", " ", " 4", "x",
         '"5"', '"6', "１", "1\x00", "\ufeff1", "1e", "2\u00a0"]  # fmt: skip
LINE_ENDS = ["\n", "\r\n", "\r", "\n\n", "\n \n", "\r\r\n"]


def read_line_by_line(content: str) -> tuple[list[tuple[int, list[float]]], list[int]]:
    """Return the rows and the bad lines of a table with the columns a, b and the integer column b."""
    rows, bad_lines, names = [], [], AB
    lines = io.StringIO(content.removeprefix("\ufeff"), newline="")
    cells_of = [(number, split_line(line.rstrip("\r\n"))) for number, line in enumerate(lines, 1)]
    cells_of = [(number, cells) for number, cells in cells_of if len(cells) > 1 or cells[0].strip()]
    if cells_of and [cell.strip().lower() for cell in cells_of[0][1]] in (["a", "b"], ["b", "a"]):
        names = [cell.strip().lower() for cell in cells_of.pop(0)[1]]
    for number, cells in cells_of:
        row = dict(zip(names, map(number_of, cells), strict=False))
        if len(cells) == 2 and None not in row.values() and csv_table.is_integer(row["b"]):
            rows.append((number, [row["a"], row["b"]]))
        else:
            bad_lines.append(number)
    return rows, bad_lines


def number_of(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def split_line(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    reader = csv.reader([line, ""])
    cells = next(reader)
    return cells if reader.line_num == 1 else [line]


@given(
    st.sampled_from(["", "a,b\n", "b,a\r\n", "\ufeffb,a\n", "\n", "\ufeff"]),
    st.lists(
        st.tuples(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3), st.sampled_from(LINE_ENDS)),
        max_size=12,
    ),
    st.booleans(),
    st.integers(4, 40),
)
def test_files_are_read_as_line_by_line(
    start: str, lines: list[tuple[list[str], str]], ends: bool, chunk_bytes: int
) -> None:
    content = start + "1,2\n" + "".join(",".join(cells) + end for cells, end in lines)
    content = content if ends else content.rstrip("\r\n")
    expected_rows, expected_bad = read_line_by_line(content)
    bad_rows: list[BadRow] = []
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_table, "_CHUNK_BYTES", chunk_bytes)
        Path(folder, "a.csv").write_bytes(content.encode())
        blocks = list(read_numbers(folder, AB, integers=("b",), set_aside=bad_rows.append))
    rows = [(block.first + i, row) for block in blocks for i, row in enumerate(block.values.tolist())]
    assert repr(rows) == repr(expected_rows)
    assert [row.row for row in bad_rows] == expected_bad


def test_the_share_of_the_bytes_that_were_read_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "1,2\n" * 100)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"3,4\n" * 100))
    shares: list[float] = []
    rows = [block.first for block in read_numbers(str(tmp_path), AB, advance=shares.append)]
    assert len(rows) == 2
    total = 400 + (tmp_path / "b.csv.gz").stat().st_size
    assert shares == [pytest.approx(400 / total), 1]
