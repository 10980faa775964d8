"""A large body is parsed in parts, with the same result as at once."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuous_training.serving import json_parts
from continuous_training.serving.json_parts import PART_BYTES, parse_in_parts

values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(-1e9, 1e9), st.text(max_size=9)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=9), st.dictionaries(st.text(max_size=4), inner, max_size=9)
    ),
    max_leaves=60,
)


@pytest.fixture
def part_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the texts that orjson parses at once."""
    sizes: list[int] = []
    loads = orjson.loads

    def record(text: bytes) -> Any:
        sizes.append(len(text))
        return loads(text)

    monkeypatch.setattr(json_parts.orjson, "loads", record)
    return sizes


def parse_small_parts(body: bytes, part_bytes: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_parts, "PART_BYTES", part_bytes)
        return parse_in_parts(body)


@settings(deadline=None, max_examples=300)
@given(values, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_the_value_is_that_of_orjson(
    value: Any, part_bytes: int, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert parse_small_parts(body, part_bytes) == orjson.loads(body)


@settings(deadline=None, max_examples=300)
@given(values, st.integers(1, 12), st.integers(0, 10**6), st.sampled_from(list('[]{},:" 1')))
def test_a_body_is_valid_if_it_is_valid_for_orjson(value: Any, part_bytes: int, seed: int, sign: str) -> None:
    """One character is replaced, inserted or removed."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    rng = random.Random(seed)
    position = rng.randrange(len(text) + 1)
    body = (text[:position] + rng.choice([sign, ""]) + text[position + rng.randrange(2) :]).encode()
    try:
        expected = orjson.loads(body)
    except orjson.JSONDecodeError:
        with pytest.raises(orjson.JSONDecodeError):
            parse_small_parts(body, part_bytes)
    else:
        assert parse_small_parts(body, part_bytes) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"images": [[[0.5] * 28] * 28] * 500},
        {"inputs": [{"name": "x", "shape": [900_000], "datatype": "FP32", "data": [0.25] * 900_000}]},
        {"instances": [{"image": [[1] * 100] * 100}] * 60},
        {str(number): number for number in range(200_000)},
        {"text": ["a, [b] {c}" * 10] * 40_000},
    ],
)
def test_no_part_of_a_large_body_is_large(part_sizes: list[int], value: Any) -> None:
    """The interpreter lock is held for one part, and not for the whole body."""
    body = json.dumps(value).encode()
    assert len(body) > 20 * PART_BYTES
    assert parse_in_parts(body) == value
    assert max(part_sizes) <= 2 * PART_BYTES + 2


@pytest.mark.parametrize("body", [b"[1,2]", b"[" + b"1," * PART_BYTES + b"1]"])
def test_a_body_of_up_to_two_parts_is_parsed_at_once(part_sizes: list[int], body: bytes) -> None:
    parse_in_parts(body[: 2 * PART_BYTES - 1].rstrip(b",]") + b"]")
    assert len(part_sizes) == 1


def test_the_error_names_the_position_in_the_whole_body() -> None:
    body = "[" + '"é",' * PART_BYTES + "1 2]"
    with pytest.raises(orjson.JSONDecodeError) as raised:
        parse_in_parts(body.encode())
    with pytest.raises(orjson.JSONDecodeError) as expected:
        orjson.loads(body.encode())
    assert abs(raised.value.pos - expected.value.pos) <= 2
    with pytest.raises(orjson.JSONDecodeError, match="a value is missing between two commas"):
        parse_small_parts(b"[1, ,2,3,4,5,6,7]", 1)
