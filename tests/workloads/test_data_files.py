"""The files of a source: subfolders, suffixes in any case, and names in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads.data_files import matching_files, name_in_source

PARTITIONS = ["dt=2025-01-01/hour=2/part-0.csv", "dt=2025-01-01/part-0.csv"]
FILES = ["2024.csv", "2025.CSV", "b.Csv.GZ", *PARTITIONS]
OTHERS = ["notes.txt", "_temporary/0/1.csv", ".old/a.csv", "_SUCCESS", "dt=2025-01-01/.part-0.csv.crc"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", FILES),
        ("*.csv", ["2024.csv", "2025.CSV"]),
        ("*.CSV", ["2024.csv", "2025.CSV"]),
        ("*.c*", ["2024.csv"]),
        ("*.csv*", ["2024.csv", "2025.CSV", "b.Csv.GZ"]),
        ("dt=*/part-0.csv", ["dt=2025-01-01/part-0.csv"]),
        ("**/part-?.csv", PARTITIONS),
        ("2025.CSV", ["2025.CSV"]),
    ],
)
def test_finds_files_in_subfolders_and_with_a_suffix_in_any_case(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    for name in (*FILES, *OTHERS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = matching_files(str(tmp_path / pattern), (".csv", ".csv.gz"))
    assert sorted(str(file.relative_to(tmp_path)) for file in files) == expected


def test_a_name_is_relative_to_the_folder_that_the_source_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data/dt=1/a.csv"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.chdir(tmp_path)
    sources = ("data", "data/dt=1", "data/*/a.csv", "data/**/*.csv", "*/dt=1/*.csv", "data/dt=1/a.csv")
    names = {source: name_in_source(matching_files(source, (".csv",))[0], source) for source in sources}
    assert names == {
        "data": "dt=1/a.csv",
        "data/dt=1": "a.csv",
        "data/*/a.csv": "dt=1/a.csv",
        "data/**/*.csv": "dt=1/a.csv",
        "*/dt=1/*.csv": "data/dt=1/a.csv",
        "data/dt=1/a.csv": "a.csv",
    }
