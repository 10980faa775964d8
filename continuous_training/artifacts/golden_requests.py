"""Whether a model answers its golden requests as it did when it was archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

RELATIVE = 1e-5
ABSOLUTE = 1e-5


def check(golden: list[dict[str, Any]], predict: Callable[[Any], Any]) -> list[str]:
    """Say in words where `predict` answers otherwise than the golden answers; nothing when nowhere.

    Texts, booleans, integers and structure are equal exactly; a float is within 1e-5, absolute and
    relative together; NaN equals nothing. No golden request at all proves nothing, and is said too.
    """
    if not golden:
        return ["there are no golden requests, so nothing is proven"]
    found: list[str] = []
    for number, row in enumerate(golden, start=1):
        where = f"golden request {number}"
        try:
            answer = predict(row["request"])
        except (Exception, SystemExit) as error:
            found.append(f"{where}: failed with {type(error).__name__}: {error}")
            continue
        found += _differences(row["answer"], answer, f"{where}: answer")
    return found


def _differences(expected: Any, answer: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(answer, dict):
        for key in sorted({*expected, *answer}, key=str):
            if key not in answer or key not in expected:
                yield f"{path}.{key} is {'missing' if key not in answer else 'not expected'}"
            else:
                yield from _differences(expected[key], answer[key], f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(answer, list | tuple):
        if len(expected) != len(answer):
            yield f"{path} has {len(answer)} items, expected {len(expected)}"
        else:
            for index, pair in enumerate(zip(expected, answer, strict=True)):
                yield from _differences(*pair, f"{path}[{index}]")
    elif not _same(expected, answer):
        yield f"{path} is {_short(answer)}, expected {_short(expected)}"


def _same(expected: Any, answer: Any) -> bool:
    if _is_number(expected) and _is_number(answer):
        if isinstance(expected, int) and isinstance(answer, int):
            return expected == answer
        return expected == answer or abs(answer - expected) <= ABSOLUTE + RELATIVE * abs(expected)
    return type(expected) is type(answer) and bool(expected == answer)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
