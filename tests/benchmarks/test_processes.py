"""What a process took is its own, not that of whoever starts it."""

import pytest

from benchmarks.processes import measured


def test_the_memory_of_the_parent_is_not_the_childs() -> None:
    ballast = bytearray(300_000_000)
    taken = measured("json.tool", "--help")
    assert len(ballast) / 1e6 > taken.megabytes > 1
    assert taken.cpu > 0
    assert taken.seconds > 0
    assert taken.told == {}


def test_a_module_that_fails_is_told_with_its_exit_code() -> None:
    with pytest.raises(SystemExit, match=r"json\.tool nowhere ended with 2"):
        measured("json.tool", "nowhere")
    assert measured("json.tool", "nowhere", codes=(0, 2)).told == {}
