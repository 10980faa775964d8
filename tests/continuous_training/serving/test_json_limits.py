"""Bodies with too many values are rejected before they are parsed, and 1024 rows are answered in any form."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode
from continuous_training.serving.json_limits import DEFAULT_LIMITS
from continuous_training.serving.models.request_limits import MAX_ROWS_PER_REQUEST, json_limits
from tests.attacks.large_bodies import MANY_VALUES

PATHS = (
    "/predict/toy",
    "/predict/diabetes?illustrate=true",
    "/v1/models/toy:predict",
    "/v2/models/toy/infer",
)


def post(url: str, body: bytes) -> requests.Response:
    return requests.post(url, data=body, headers={"content-type": "application/json"}, timeout=60)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", MANY_VALUES)
def test_a_body_with_too_many_values_is_rejected(gallery: str, path: str, name: str) -> None:
    body, message = MANY_VALUES[name]
    response = post(f"{gallery}{path}", body)
    assert response.status_code == 400
    assert response.json()["error"].startswith(message)


def test_a_body_with_as_many_values_as_the_limit_is_parsed() -> None:
    count = DEFAULT_LIMITS.values
    assert len(decode(b"[" + b"1," * (count - 1) + b"1]", DEFAULT_LIMITS)) == count
    with pytest.raises(RequestError, match=f"more than {count} values"):
        decode(b"[" + b"1," * count + b"1]", DEFAULT_LIMITS)


@pytest.mark.parametrize("text", ['"', "\\", ",", "[{", '\\",["', "\\\\,"])
def test_characters_of_a_text_do_not_count(gallery: str, text: str) -> None:
    body = json.dumps({"text": [text * 600_000, "a good film"]}).encode()
    response = post(f"{gallery}/predict/reviews", body)
    assert [row["label"] for row in response.json()["predictions"]] == ["negative", "positive"]


def test_the_largest_request_in_rows_is_answered(gallery: str) -> None:
    images = [[[float(row % 17)] * 8] * 8 for row in range(MAX_ROWS_PER_REQUEST)]
    response = post(f"{gallery}/predict/digits", json.dumps({"images": images}).encode())
    assert len(response.json()["predictions"]) == MAX_ROWS_PER_REQUEST


@pytest.mark.parametrize(
    ("shape", "datatype", "row"),
    [
        ((-1, 28, 28), "FP32", [[0] * 28] * 28),
        ((-1, 28, 28, 3), "FP32", [[[0] * 3] * 28] * 28),
        ((-1, 1000), "FP64", {f"c{i}": 0 for i in range(1000)}),
        ((-1, 600), "BYTES", ["a"] * 600),
        ((-1,), "BYTES", "a"),
    ],
)
def test_the_limits_allow_all_rows_of_a_model(shape: tuple[int, ...], datatype: str, row: Any) -> None:
    limits = json_limits([TensorSpec("x", datatype, shape)])
    body = json.dumps({"rows": [row] * MAX_ROWS_PER_REQUEST}, separators=(",", ":")).encode()
    limits.check(body)
    for larger in (b"1," * limits.values, b"[" * (limits.containers + 1)):
        with pytest.raises(RequestError):
            limits.check(larger)
