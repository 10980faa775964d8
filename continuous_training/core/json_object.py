"""Read a JSON document field by field. Every error names the document and the field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from continuous_training.core.errors import UserError

Json = dict[str, Any]
"""A JSON object as a dict: the return value of `to_json`, or a document whose fields others define.

Data of this program that a function reads field by field is a dataclass, not a `Json`.
"""

_REQUIRED: Any = object()
_Decoded = TypeVar("_Decoded")


class JsonObject:
    """One JSON object of a document.

    `document` is the path or the key of the document, for error messages. `error` is the class that is raised
    for damaged data, and `field` the position of the object in the document ("splits.train").
    """

    def __init__(
        self, value: object, document: str, error: type[UserError] = UserError, field: str = ""
    ) -> None:
        self.document, self.error, self._field = document, error, field
        if not isinstance(value, Mapping):
            location = f"{document}: {field}" if field else document
            raise error(f"{location} is {_short(value)}, not a JSON object")
        self.value: Mapping[str, Any] = value

    @classmethod
    def parse(
        cls, text: str | bytes, document: str, error: type[UserError] = UserError, hint: str = ""
    ) -> JsonObject:
        """Return the object that a JSON text contains. `hint` is the action for the user."""
        return cls(_decode(text, document, error, hint), document, error)

    @classmethod
    def read(cls, path: Path, error: type[UserError] = UserError, hint: str = "") -> JsonObject:
        """Return the object in a JSON file. Raises `error` for a missing or damaged file."""
        return cls.parse(_read(path, error, hint), str(path), error, hint)

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """Return a text field."""
        return str(self._typed(key, (str,), "a text", default))

    def optional_text(self, key: str) -> str | None:
        """Return a text field, or None when it is missing or null."""
        return self.text(key) if key in self else None

    def integer(self, key: str, default: Any = _REQUIRED) -> int:
        """Return a field with a whole number."""
        return int(self._typed(key, (int,), "a whole number", default))

    def number(self, key: str) -> float:
        """Return a field with a number; NaN when it is missing or null, as NaN is stored."""
        number = self.optional_number(key)
        return math.nan if number is None else number

    def optional_number(self, key: str) -> float | None:
        """Return a field with a number, or None when it is missing or null."""
        return float(self._typed(key, (int, float), "a number", None)) if key in self else None

    def boolean(self, key: str, default: Any = _REQUIRED) -> bool:
        """Return a field with true or false."""
        return bool(self._typed(key, (bool,), "true or false", default))

    def array(self, key: str, default: Any = _REQUIRED) -> list[Any]:
        """Return a list field."""
        return list(self._typed(key, (list,), "a list", default))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list field whose items are numbers."""
        numbers = self.array(key)
        if not _are_numbers(numbers):
            raise self.invalid(key, "a list of numbers")
        return tuple(numbers)

    def numbers_by_name(self, key: str) -> dict[str, float]:
        """Return a field with a JSON object whose values are numbers."""
        numbers = self.mapping(key)
        if not _are_numbers(numbers.values()):
            raise self.invalid(key, "a JSON object of numbers")
        return numbers

    def text_list(self, key: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """Return a list field whose items are texts."""
        texts = self.array(key, default)
        if not all(isinstance(text, str) for text in texts):
            raise self.invalid(key, "a list of texts")
        return tuple(texts)

    def mapping(self, key: str, default: Any = _REQUIRED) -> Json:
        """Return a field with a JSON object as a dict. Its content is not checked."""
        return dict(self._typed(key, (dict,), "a JSON object", default))

    def scalars(self, key: str) -> dict[str, str | int | float | bool]:
        """Return a field with a JSON object whose values are texts, numbers or booleans."""
        scalars = self.mapping(key)
        if not all(isinstance(value, str | int | float) for value in scalars.values()):
            raise self.invalid(key, "a JSON object of texts, numbers and booleans")
        return scalars

    def texts(self, key: str, default: Any = _REQUIRED) -> dict[str, str]:
        """Return a field with a JSON object whose values are texts."""
        nested = JsonObject(self.mapping(key, default), self.document, self.error, self.field(key))
        return {name: nested.text(name) for name in nested.value}

    def nested(self, key: str, default: Any = _REQUIRED) -> JsonObject:
        """Return a nested object."""
        return JsonObject(self.mapping(key, default), self.document, self.error, self.field(key))

    def nested_list(self, key: str, default: Any = _REQUIRED) -> list[JsonObject]:
        """Return the objects of a list field."""
        return [
            JsonObject(item, self.document, self.error, f"{self.field(key)}[{index}]")
            for index, item in enumerate(self.array(key, default))
        ]

    def optional(self, key: str, from_json: Callable[[JsonObject], _Decoded]) -> _Decoded | None:
        """Return a nested object that `from_json` reads, or None when it is missing or null."""
        return from_json(self.nested(key)) if key in self else None

    def items(
        self, key: str, from_json: Callable[[JsonObject], _Decoded], default: Any = _REQUIRED
    ) -> dict[str, _Decoded]:
        """Return a field with a JSON object whose values are objects that `from_json` reads."""
        nested = self.nested(key, default)
        return {name: from_json(nested.nested(name)) for name in nested.value}

    def require_format(self, newest: int, default: Any = _REQUIRED) -> int:
        """Return the format version. Raises `error` for a version that this program does not know."""
        version = self.integer("format", default)
        if not 1 <= version <= newest:
            raise self.error(
                f"{self.document}: format is {version}, and this program reads formats up to {newest}; "
                "use a newer version of the program, or write the file again"
            )
        return version

    def field(self, key: str) -> str:
        """Return the position of a field in the document."""
        return f"{self._field}.{key}" if self._field else key

    def invalid(self, key: str, expected: str) -> UserError:
        """Return the error for a field with a missing or invalid value."""
        value = self.value.get(key, _REQUIRED)
        actual = "is missing" if value is _REQUIRED else f"is {_short(value)}"
        return self.error(f"{self.document}: {self.field(key)} {actual}; it must be {expected}")

    def _typed(self, key: str, types: tuple[type, ...], expected: str, default: Any) -> Any:
        value = self.value.get(key)
        if value is None and default is not _REQUIRED:
            return default
        # bool is a subclass of int, and true is no number.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise self.invalid(key, expected)
        return value


def _are_numbers(values: Iterable[object]) -> bool:
    # Not isinstance, because bool is a subclass of int.
    return all(type(value) in (int, float) for value in values)


def read_list(path: Path, error: type[UserError] = UserError, hint: str = "") -> list[Any]:
    """Return the list in a JSON file. Raises `error` for a missing or damaged file."""
    value = _decode(_read(path, error, hint), str(path), error, hint)
    if not isinstance(value, list):
        raise error(f"{path} is {_short(value)}, not a JSON list")
    return value


def _read(path: Path, error: type[UserError], hint: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise error(f"there is no file {path}" + (f"; {hint}" if hint else "")) from None


def _decode(text: str | bytes, document: str, error: type[UserError], hint: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise error(
            f"{document} is damaged (not valid JSON: {cause})" + (f"; {hint}" if hint else "")
        ) from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
