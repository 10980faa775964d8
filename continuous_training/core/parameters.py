"""Run parameters: typed, with ranges, checked before anything starts.

The same parser reads `--set name=value` on a command line, the lines that the compiled pipeline
hands to a step, and keyword arguments from Python.
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

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}
_FORBIDDEN = re.compile(r"[\"\\\n\r]|\{\{|python3")
"""What Kubeflow's text substitution mangles: quotes, line breaks, placeholders, its interpreter's name."""


@dataclass(frozen=True)
class Parameter:
    """One run parameter; its type is the type of its default.

    `minimum` and `maximum` are inclusive; `choices` lists the only values allowed; `pattern` is a
    regular expression that a non-empty text must match whole, and `reads` a function that raises
    ValueError for a text that has the form and no meaning; `example` shows people one that is allowed.
    `shapes_data` is False for what training alone looks at: a training by hand may give it another value than
    the rows were prepared with.
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
        """The Python type of every value: str, int, float or bool."""
        return type(self.default)

    def parse(self, value: Any) -> Value:
        """Return `value` in the parameter's type; UserError when it has another or is out of range."""
        parsed = self._convert(value)
        if self.choices and parsed not in self.choices:
            raise self._refuse(value)
        if isinstance(parsed, int | float) and not isinstance(parsed, bool):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not low <= parsed <= high:
                raise self._refuse(value)
        if isinstance(parsed, str):
            if _FORBIDDEN.search(parsed):
                raise UserError(
                    f"parameter {self.name}: {parsed!r} holds a quote, a backslash, a line break, '{{{{' "
                    "or 'python3', which Kubeflow Pipelines does not pass on unharmed; use another value"
                )
            if parsed and not self._is_readable(parsed):
                raise self._refuse(value)
        return parsed

    def allowed(self) -> str:
        """The allowed values in words: 'a number from 0.05 to 0.5'."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[self.type]
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {_short(self.minimum)} to {_short(self.maximum)}"
        if self.minimum is not None:
            return f"{words}, at least {_short(self.minimum)}"
        if self.maximum is not None:
            return f"{words}, at most {_short(self.maximum)}"
        if self.example:
            return f"{words} such as {self.example}"
        return f"{words} of the form {self.pattern}" if self.pattern else words

    def _is_readable(self, text: str) -> bool:
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
                raise self._refuse(value)
            return value
        if self.type is bool:
            text = str(value).strip().lower()
            if text not in _TRUE | _FALSE:
                raise self._refuse(value)
            return text in _TRUE
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self._refuse(value) from None
        if isinstance(value, bool) or not math.isfinite(number):
            raise self._refuse(value)
        return number if self.type is float else self._whole(value, number)

    def _whole(self, value: Any, number: float) -> int:
        try:
            # A float holds whole numbers up to 2^53 only.
            return int(str(value))
        except ValueError:
            # Kubeflow hands whole numbers on as 3.0.
            if number != int(number):
                raise self._refuse(value) from None
            return int(number)

    def _refuse(self, value: Any) -> UserError:
        return UserError(f"parameter {self.name}: {value!r} is not {self.allowed()} ({self.help})")


def _short(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def parse_values(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> Values:
    """Return a value for every parameter, the default where `given` has none.

    Raises UserError for an unknown name (listing the allowed ones), a wrong type or a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            lines = "\n".join(f"  {p.name}={p.default}  {p.help}: {p.allowed()}" for p in known.values())
            raise UserError(f"there is no run parameter {name!r}{hint} The allowed ones are:\n{lines}")
    return {name: p.parse(given[name]) if name in given else p.default for name, p in known.items()}


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Split `name=value` texts; UserError for one without `=` or a name given twice."""
    given: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{assignment!r} is not of the form name=value")
        if name.strip() in given:
            raise UserError(f"parameter {name.strip()} is given twice")
        given[name.strip()] = value
    return given


def to_lines(values: Mapping[str, Any]) -> str:
    """Write values as `name=value` lines, the form in which the pipeline hands them to a step."""
    return "\n".join(f"{name}={value}" for name, value in values.items())
