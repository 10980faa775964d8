from __future__ import annotations

import re
from typing import Any

import pytest

from continuous_training.artifacts.golden_requests import check

NAN = float("nan")


def compare(expected: Any, answer: Any) -> list[str]:
    return check([{"request": 0, "answer": expected}], lambda _: answer)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ({"label": 7, "ok": True, "none": None}, {"ok": True, "none": None, "label": 7}),
        ([1.0, "é"], [1.000009, "é"]),
        (1e9, 1e9 + 9000),
        (0.0, 9e-6),
        (1, 1.0),
        ([], []),
    ],
)
def test_the_same_answers_pass(expected: Any, answer: Any) -> None:
    assert compare(expected, answer) == []


@pytest.mark.parametrize(
    ("expected", "answer", "words"),
    [
        ({"label": 7}, {"label": 8}, "answer.label is 8, expected 7"),
        ({"label": 7}, {}, "answer.label is missing"),
        ({}, {"label": 7}, "answer.label is not expected"),
        ([1, 2], [1], "answer has 1 items, expected 2"),
        ([1.0], [1.0001], r"answer\[0\] is 1.0001"),
        (True, 1, "is 1, expected True"),
        (1, True, "is True, expected 1"),
        ("1", 1, "is 1, expected '1'"),
        (10**15, 10**15 + 1, "expected 1000000000000000"),
        (1.0, NAN, "is nan"),
        (NAN, NAN, "is nan"),
        (1.0, float("inf"), "is inf"),
        (None, 0, "is 0, expected None"),
        ([[1]], [{"0": 1}], r"answer\[0\]"),
    ],
)
def test_another_answer_is_told_in_words(expected: Any, answer: Any, words: str) -> None:
    (told,) = compare(expected, answer)
    assert re.search(words, told), told
    assert told.startswith("golden request 1: ")


def test_a_failing_request_is_a_mismatch_and_the_others_are_checked_still() -> None:
    golden = [{"request": n, "answer": 1.0} for n in (0, 1, 2)]
    assert check(golden, lambda n: 1 / n) == [
        "golden request 1: failed with ZeroDivisionError: division by zero",
        "golden request 3: answer is 0.5, expected 1.0",
    ]


def test_nothing_to_check_proves_nothing() -> None:
    assert check([], lambda _: None) == ["there are no golden requests, so nothing is proven"]
