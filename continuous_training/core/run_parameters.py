"""Run parameters with types and ranges, validated before a run starts.

The same parser reads `--set name=value` of a command line, the lines that the compiled pipeline passes to a
step, and values from Python.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from continuous_training.core.errors import UserError

Value = str | int | float | bool
Values = dict[str, Value]

SOURCE_PARAMETERS = ("source", "sha256", "expected_rows")
"""The run parameters that name and verify the source. They are no inputs of the training; the rows are."""

APPROVAL_PARAMETERS = ("approval", "approval_days")
"""The run parameters about the approval by a person. They are no inputs of the training."""

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}
_FORBIDDEN = re.compile(r"[\"\\\n\r]|\{\{|python3")
"""The texts that Kubeflow's substitution changes: quotes, line breaks, placeholders, the interpreter."""


@dataclass(frozen=True)
class Parameter:
    """One run parameter. Its type is the type of its default.

    `minimum` and `maximum` are inclusive, and `choices` are the only valid values. A non-empty text must
    match the whole regular expression `pattern`, and `reads` raises ValueError for a text that matches but is
    invalid. `example` is a valid value for messages. `shapes_data` is False for a parameter that only the
    training uses: its value may differ from the one of prep-data.
    """

    name: str
    default: Value
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Value, ...] = ()
    pattern: str = ""
    reads: Callable[[str], object] | None = None
    example: str = ""
    shapes_data: bool = True

    @property
    def type(self) -> type:
        """The type of the values: str, int, float or bool."""
        return type(self.default)

    def parse(self, value: Any) -> Value:
        """Return `value` in the parameter's type. Raises UserError for another type or an invalid value."""
        parsed = self._convert(value)
        if self.choices and parsed not in self.choices:
            raise self._invalid(value)
        if isinstance(parsed, int | float) and not isinstance(parsed, bool):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not low <= parsed <= high:
                raise self._out_of_range(value, parsed, low)
        if isinstance(parsed, str):
            if _FORBIDDEN.search(parsed):
                raise UserError(
                    f"parameter {self.name}: {parsed!r} contains a quote, a backslash, a line break, '{{{{' "
                    "or 'python3', which Kubeflow Pipelines changes; use another value"
                )
            if parsed and not self._is_valid_text(parsed):
                raise self._invalid(value)
        return parsed

    def allowed(self) -> str:
        """Return a description of the valid values, such as 'a number from 0.05 to 0.5'."""
        if self.choices:
            values = [str(choice) for choice in self.choices if choice != ""]
            text = ", ".join(values) if len(values) == 1 else f"one of {', '.join(values)}"
            return text if "" not in self.choices else f"{text} or empty"
        kind = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[self.type]
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {_short(self.minimum)} to {_short(self.maximum)}"
        if self.minimum is not None:
            return f"{kind} of at least {_short(self.minimum)}"
        if self.maximum is not None:
            return f"{kind} of at most {_short(self.maximum)}"
        if self.example:
            return f"{kind} such as {self.example}"
        return f"{kind} of the form {self.pattern}" if self.pattern else kind

    def _is_valid_text(self, text: str) -> bool:
        if self.pattern and not re.fullmatch(self.pattern, text):
            return False
        try:
            if self.reads:
                self.reads(text)
        except ValueError:
            return False
        return True

    def _convert(self, value: Any) -> Value:
        if self.type is str:
            if not isinstance(value, str):
                raise self._invalid(value)
            return value
        if self.type is bool:
            text = str(value).strip().lower()
            if text not in _TRUE | _FALSE:
                raise self._invalid(value)
            return text in _TRUE
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self._invalid(value) from None
        if isinstance(value, bool) or not math.isfinite(number):
            raise self._invalid(value)
        return number if self.type is float else self._to_integer(value, number)

    def _to_integer(self, value: Any, number: float) -> int:
        try:
            # A float represents whole numbers exactly only up to 2^53.
            return int(str(value))
        except ValueError:
            # Kubeflow passes whole numbers as 3.0.
            if number != int(number):
                raise self._invalid(value) from None
            return int(number)

    def _out_of_range(self, value: Any, number: float, low: float) -> UserError:
        bound = f"less than {_short(low)}" if number < low else f"greater than {_short(self.maximum or 0)}"
        return UserError(f"parameter {self.name}: {value} is {bound}. Pass {self.allowed()} ({self.help})")

    def _invalid(self, value: Any) -> UserError:
        return UserError(f"parameter {self.name}: {value!r} is not {self.allowed()} ({self.help})")


def _short(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def parse_values(parameters: Iterable[Parameter], values: Mapping[str, object]) -> Values:
    """Return a value for every parameter: from `values`, or the default.

    Raises UserError for an unknown name (the message lists the parameters), a wrong type or an invalid value.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    for name in values:
        if name not in by_name:
            similar = difflib.get_close_matches(name, by_name, n=1)
            hint = f"; did you mean {similar[0]}?" if similar else "."
            lines = "\n".join(f"  {p.name}={p.default}  {p.help}: {p.allowed()}" for p in by_name.values())
            raise UserError(f"there is no run parameter {name!r}{hint} The parameters are:\n{lines}")
    return {name: p.parse(values[name]) if name in values else p.default for name, p in by_name.items()}


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Split `name=value` texts. Raises UserError for a text without `=` or a duplicate name."""
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{assignment!r} is not of the form name=value")
        if name.strip() in values:
            raise UserError(f"parameter {name.strip()} is given twice")
        values[name.strip()] = value
    return values


def to_lines(values: Mapping[str, object]) -> str:
    """Return the values as `name=value` lines, the form in which the pipeline passes them to a step."""
    return "\n".join(f"{name}={value}" for name, value in values.items())
