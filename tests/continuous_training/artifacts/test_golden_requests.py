from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet

NAN = float("nan")


def differences(expected: Any, response: Any) -> list[str]:
    return GoldenSet((GoldenRequest(0, expected),)).check(lambda _: response)


@pytest.mark.parametrize(
    ("expected", "response"),
    [
        ({"label": 7, "ok": True, "none": None}, {"ok": True, "none": None, "label": 7}),
        ([1.0, "é"], [1.000009, "é"]),
        (1e9, 1e9 + 9000),
        (0.0, 9e-6),
        (1, 1.0),
        ([], []),
    ],
)
def test_equal_responses_pass(expected: Any, response: Any) -> None:
    assert differences(expected, response) == []


@pytest.mark.parametrize(
    ("expected", "response", "message"),
    [
        ({"label": 7}, {"label": 8}, "response.label is 8, expected 7"),
        ({"label": 7}, {}, "response.label is missing"),
        ({}, {"label": 7}, "response.label is not expected"),
        ([1, 2], [1], "response has 1 items, expected 2"),
        ([1.0], [1.0001], r"response\[0\] is 1.0001"),
        (True, 1, "is 1, expected True"),
        (1, True, "is True, expected 1"),
        ("1", 1, "is 1, expected '1'"),
        (10**15, 10**15 + 1, "expected 1000000000000000"),
        (1.0, NAN, "is nan"),
        (NAN, NAN, "is nan"),
        (1.0, float("inf"), "is inf"),
        (None, 0, "is 0, expected None"),
        ([[1]], [{"0": 1}], r"response\[0\]"),
    ],
)
def test_a_different_response_is_described(expected: Any, response: Any, message: str) -> None:
    (difference,) = differences(expected, response)
    assert re.search(message, difference), difference
    assert difference.startswith("golden request 1: ")


def test_a_failing_request_is_a_difference_and_the_other_requests_are_still_checked() -> None:
    golden = GoldenSet(tuple(GoldenRequest(number, 1.0) for number in (0, 1, 2)))
    assert golden.check(lambda number: 1 / number) == [
        "golden request 1: failed with ZeroDivisionError: division by zero",
        "golden request 3: response is 0.5, expected 1.0",
    ]


def test_an_empty_set_verifies_nothing() -> None:
    assert GoldenSet().check(lambda _: None) == ["there are no golden requests, so nothing is verified"]


def test_a_file_is_read_and_damage_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    pairs = [{"request": {"x": [1]}, "answer": None}, {"request": 2, "answer": [3]}]
    path.write_text(json.dumps(pairs))
    assert GoldenSet.read(path).to_json() == pairs
    path.write_text(json.dumps([pairs[0], {"request": 2}]))
    with pytest.raises(ArtifactError, match=r"golden.json: golden\[1\].answer is missing"):
        GoldenSet.read(path)
    for content in ("{}", "[", '["text"]'):
        path.write_text(content)
        with pytest.raises(ArtifactError, match=r"golden.json"):
            GoldenSet.read(path)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"golden.json"):
        GoldenSet.read(path)
