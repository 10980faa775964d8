"""Tests of the table of the full-size tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.processes import ProcessResult

from . import table
from .table import Line, Table, interval, render, stored_tables


def test_a_new_measurement_replaces_the_old_one_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(table, "STORED_TABLES", tmp_path / "tables")
    process = ProcessResult(12.34, 20.0, 456.7, {})
    Table("nsmc").add(Line("accuracy", "0.5", "≥ 0.9", process, "words", "0.4", process))
    Table("mnist").add(Line("accuracy", "0.99", "≥ 0.9", process))
    new_table = Table("nsmc")
    new_table.add(Line("accuracy", "0.95", "≥ 0.9", process, "words", "0.4", process))
    new_table.add(Line("gain", "0.1", "interval above 0"))
    lines = render(stored_tables()).splitlines()
    assert lines[2:5] == [
        "| mnist | accuracy | 0.99 | ≥ 0.9 | 12.3 | 457 |  |  |  |  |",
        "| nsmc | accuracy | 0.95 | ≥ 0.9 | 12.3 | 457 | words | 0.4 | 12.3 | 457 |",
        "| nsmc | gain | 0.1 | interval above 0 | – | – |  |  |  |  |",
    ]
    assert "nsmc 20" in lines[6], "when it was measured"


def test_an_interval_is_formatted_as_text() -> None:
    assert interval({"value": 0.99661, "low": 0.9954, "high": 0.9977}) == "0.9966 (0.9954 to 0.9977)"
