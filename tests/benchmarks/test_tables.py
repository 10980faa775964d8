"""Tests of the page that the benchmark of tables writes."""

from pathlib import Path

from benchmarks.processes import ProcessResult
from benchmarks.tables import Measurement, write

STEPS = tuple(ProcessResult(2.0 * number, float(number), 100.0 * number, {}, 7) for number in (1, 2, 3))


def test_the_table_of_the_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text("# Title\n\n<!-- table -->\nold\n<!-- end of the table -->\n\nText\n", encoding="utf-8")
    measurement = Measurement("patients", 1000, STEPS, ProcessResult(4.0, 4.0, 50.0, {}, 1), 2.5)
    write([measurement], page)
    write([measurement], page)
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["# Title", "", "<!-- table -->"]
    assert lines[-3:] == ["<!-- end of the table -->", "", "Text"]
    assert "| patients | 1,000 | train | 4.0 | 2.0 | 500 | 200 | 7 | |" in lines
    assert "| patients | 1,000 | **all steps** | 12.0 | 6.0 | 167 | 300 | 21 | **1.5x** |" in lines
    assert [line for line in lines if "2.5" in line and line.startswith("Load of the machine")]
    assert (tmp_path / "scale-tables.svg").is_file()
