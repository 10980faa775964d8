"""Golden requests: requests and the responses that every server of the archive must give to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json, JsonObject, read_list

RELATIVE = 1e-5
ABSOLUTE = 1e-5


@dataclass(frozen=True)
class GoldenRequest:
    """A JSON request, and the JSON response that the model gave to it when it was archived."""

    request: Any
    response: Any

    @classmethod
    def from_json(cls, document: JsonObject) -> GoldenRequest:
        """Read a pair; its stored fields are `request` and `answer`."""
        for key in ("request", "answer"):
            if key not in document.value:
                raise document.invalid(key, "a JSON value")
        return cls(document.value["request"], document.value["answer"])

    def to_json(self) -> Json:
        """Return the pair under its stored names."""
        return {"request": self.request, "answer": self.response}


@dataclass(frozen=True)
class GoldenSet:
    """All golden requests of one model."""

    requests: tuple[GoldenRequest, ...] = ()

    @classmethod
    def from_json(
        cls,
        pairs: Iterable[object],
        document: str = "golden requests",
        error: type[UserError] = ArtifactError,
    ) -> GoldenSet:
        """Read a JSON list of pairs. Raises `error`, naming the document and the pair, for a damaged pair."""
        return cls(
            tuple(
                GoldenRequest.from_json(JsonObject(pair, document, error, f"golden[{index}]"))
                for index, pair in enumerate(pairs)
            )
        )

    @classmethod
    def read(cls, path: Path) -> GoldenSet:
        """Read the file that evaluate writes: a JSON list. Raises ArtifactError when it is damaged."""
        return cls.from_json(read_list(path, ArtifactError, "run the evaluate step again"), str(path))

    def to_json(self) -> list[Json]:
        """Return the list of a manifest."""
        return [pair.to_json() for pair in self.requests]

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[GoldenRequest]:
        return iter(self.requests)

    def check(self, predict: Callable[[Any], Any]) -> list[str]:
        """Return a description of every response of `predict` that differs; an empty list when none does.

        Texts, booleans, integers and the structure must be equal. Floats may differ by 1e-5, absolute plus
        relative. NaN equals nothing. A set without requests fails, because it verifies nothing.
        """
        if not self.requests:
            return ["there are no golden requests, so nothing is verified"]
        differences: list[str] = []
        for number, pair in enumerate(self.requests, start=1):
            label = f"golden request {number}"
            try:
                response = predict(pair.request)
            except (Exception, SystemExit) as error:
                differences.append(f"{label}: failed with {type(error).__name__}: {error}")
                continue
            differences += _differences(pair.response, response, f"{label}: response")
        return differences


def _differences(expected: Any, actual: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in sorted({*expected, *actual}, key=str):
            if key not in actual or key not in expected:
                yield f"{path}.{key} is {'missing' if key not in actual else 'not expected'}"
            else:
                yield from _differences(expected[key], actual[key], f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list | tuple):
        if len(expected) != len(actual):
            yield f"{path} has {len(actual)} items, expected {len(expected)}"
        else:
            for index, pair in enumerate(zip(expected, actual, strict=True)):
                yield from _differences(*pair, f"{path}[{index}]")
    elif not _equal(expected, actual):
        yield f"{path} is {_short(actual)}, expected {_short(expected)}"


def _equal(expected: Any, actual: Any) -> bool:
    if _is_number(expected) and _is_number(actual):
        if isinstance(expected, int) and isinstance(actual, int):
            return expected == actual
        return bool(expected == actual or abs(actual - expected) <= ABSOLUTE + RELATIVE * abs(expected))
    return type(expected) is type(actual) and bool(expected == actual)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
