"""The table itself, at no size at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.processes import Taken

from . import table
from .table import Line, Table, interval, kept, render


def test_a_workload_measured_again_takes_its_own_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(table, "KEPT", tmp_path / "kept")
    taken = Taken(12.34, 20.0, 456.7, {})
    Table("nsmc").add(Line("accuracy", "0.5", "≥ 0.9", taken, "words", "0.4", taken))
    Table("mnist").add(Line("accuracy", "0.99", "≥ 0.9", taken))
    again = Table("nsmc")
    again.add(Line("accuracy", "0.95", "≥ 0.9", taken, "words", "0.4", taken))
    again.add(Line("gain", "0.1", "interval above 0"))
    lines = render(kept()).splitlines()
    assert lines[2:5] == [
        "| mnist | accuracy | 0.99 | ≥ 0.9 | 12.3 | 457 |  |  |  |  |",
        "| nsmc | accuracy | 0.95 | ≥ 0.9 | 12.3 | 457 | words | 0.4 | 12.3 | 457 |",
        "| nsmc | gain | 0.1 | interval above 0 | – | – |  |  |  |  |",
    ]
    assert "nsmc 20" in lines[6], "when it was measured"


def test_an_interval_in_words() -> None:
    assert interval({"value": 0.99661, "low": 0.9954, "high": 0.9977}) == "0.9966 (0.9954 to 0.9977)"
