"""The progress of operations on many rows."""

from __future__ import annotations

import io

import pytest

from components.step_cli import tell
from continuous_training.core.progress import ProgressLine, RowProgress


def test_rows_are_reported_by_time_and_at_the_end() -> None:
    messages: list[str] = []
    times = iter([0.0, 0.5, 1.0, 9.0, 11.0, 11.1])
    progress = RowProgress(messages.append, "read and validated", lambda: next(times))
    for rows in (1_000, 2_000, 18_000, 22_000, 22_200):
        progress.update(rows)
    progress.finish(22_300)
    assert messages == [
        "2,000 rows read and validated (2,000 rows/s)",
        "22,000 rows read and validated (2,000 rows/s)",
        "22,300 rows read and validated",
    ]


def test_an_operation_without_rows_is_reported() -> None:
    messages: list[str] = []
    RowProgress(messages.append, "read").finish(0)
    assert messages == ["0 rows read"]


def test_the_remaining_time_is_reported_if_the_share_is_known() -> None:
    messages: list[str] = []
    times = iter([0.0, 2.0, 12.0, 22.0])
    progress = RowProgress(messages.append, "read", lambda: next(times))
    for rows, share in ((20, 0.001), (120, 0.3), (220, 1.0)):
        progress.advance(share)
        progress.update(rows)
    assert messages == [
        "20 rows read (10 rows/s)",
        "120 rows read (10 rows/s, 28 s left)",
        "220 rows read (10 rows/s)",
    ]


def test_an_operation_of_twenty_million_rows_has_few_lines() -> None:
    messages: list[str] = []
    times = (rows / 20_000 for rows in range(0, 40_000_000, 10_000))
    progress = RowProgress(messages.append, "read", lambda: next(times))
    for rows in range(0, 20_000_000, 10_000):
        progress.update(rows)
    assert len(messages) == 1 + 1000 // 10 - 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (Terminal, "· start\n· 1 rows\r\x1b[2K· 2 rows\r\x1b[2K· end\n· next\n"),
        (io.StringIO, "· start\n· 1 rows\n· 2 rows\n· end\n· next\n"),
    ],
)
def test_a_terminal_shows_the_progress_in_one_line(
    stream: type[io.StringIO], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = stream()
    monkeypatch.setattr("sys.stderr", output)
    for message in ("start", ProgressLine("1 rows"), ProgressLine("2 rows"), "end", "next"):
        tell(message)
    assert output.getvalue() == expected
