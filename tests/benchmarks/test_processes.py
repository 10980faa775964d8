"""Tests of the measurement of processes."""

import pytest

from benchmarks.processes import run_measured


def test_the_memory_of_the_parent_is_not_counted() -> None:
    ballast = bytearray(300_000_000)
    result = run_measured("json.tool", "--help")
    assert len(ballast) / 1e6 > result.megabytes > 1
    assert result.cpu > 0
    assert result.seconds > 0
    assert result.output == {}
    assert result.lines > 10


def test_a_failed_module_is_an_error_with_its_exit_code() -> None:
    with pytest.raises(SystemExit, match=r"json\.tool --unknown ended with 2"):
        run_measured("json.tool", "--unknown")
    result = run_measured("json.tool", "--unknown", codes=(0, 2))
    assert result.output == {}
    assert result.lines >= 2
