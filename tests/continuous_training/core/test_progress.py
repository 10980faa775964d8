"""The progress of operations on many rows."""

from __future__ import annotations

from continuous_training.core.progress import RowProgress


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
