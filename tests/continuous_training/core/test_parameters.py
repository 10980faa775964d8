"""Run parameters: the values that are allowed, and the messages for all others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import (
    Parameter,
    Value,
    parse_assignments,
    parse_values,
    to_lines,
)
from workloads.contract import COMMON

TEXT = Parameter("city", "Seoul", "where")
DATE = Parameter("day", "", "which day", pattern=r"\d{4}-\d{2}-\d{2}")
WHOLE = Parameter("rows", 3, "how many", minimum=1, maximum=10)
NUMBER = Parameter("share", 0.2, "how much", minimum=0.05, maximum=0.5)
SWITCH = Parameter("fast", False, "whether to hurry")
CHOICE = Parameter("kind", "all", "which", choices=("all", "bmi"))
FREE = Parameter("free", 0, "any whole number")
ALL = (TEXT, DATE, WHOLE, NUMBER, SWITCH, CHOICE, FREE)


@pytest.mark.parametrize(
    ("parameter", "given_value", "parsed"),
    [
        (TEXT, "Busan", "Busan"),
        (TEXT, "", ""),
        (TEXT, "a=b, 서울 'x'", "a=b, 서울 'x'"),
        (DATE, "2026-11-21", "2026-11-21"),
        (DATE, "", ""),
        (WHOLE, "7", 7),
        (WHOLE, 7, 7),
        (WHOLE, 3.0, 3),
        (WHOLE, "3.0", 3),
        (WHOLE, 1, 1),
        (WHOLE, 10, 10),
        (FREE, str(2**53 + 1), 2**53 + 1),
        (FREE, 2**53 + 1, 2**53 + 1),
        (FREE, "-4", -4),
        (NUMBER, "0.25", 0.25),
        (NUMBER, 0.05, 0.05),
        (NUMBER, 0.5, 0.5),
        (SWITCH, True, True),
        (SWITCH, "yes", True),
        (SWITCH, "TRUE", True),
        (SWITCH, "1", True),
        (SWITCH, " no ", False),
        (SWITCH, "False", False),
        (SWITCH, 0, False),
        (CHOICE, "bmi", "bmi"),
    ],
)
def test_a_value_is_read_in_its_parameters_type(
    parameter: Parameter, given_value: Any, parsed: Value
) -> None:
    result = parameter.parse(given_value)
    assert (result, type(result)) == (parsed, parameter.type)


@pytest.mark.parametrize(
    ("parameter", "given_value", "message"),
    [
        (TEXT, 5, "parameter city: 5 is not text (where)"),
        (DATE, "today", "parameter day: 'today' is not text of the form \\d{4}-\\d{2}-\\d{2} (which day)"),
        (WHOLE, "0", "parameter rows: 0 is less than 1. Pass a whole number from 1 to 10 (how many)"),
        (WHOLE, 11, "11 is greater than 10. Pass a whole number from 1 to 10"),
        (WHOLE, 3.5, "3.5 is not a whole number"),
        (WHOLE, True, "True is not a whole number"),
        (WHOLE, "three", "'three' is not a whole number"),
        (WHOLE, None, "None is not a whole number"),
        (FREE, "1e999", "'1e999' is not a whole number"),
        (FREE, "9" * 5000, "is not a whole number"),
        (NUMBER, "0.51", "0.51 is greater than 0.5. Pass a number from 0.05 to 0.5"),
        (NUMBER, "nan", "'nan' is not a number"),
        (NUMBER, "inf", "'inf' is not a number"),
        (NUMBER, 10**400, "is not a number from 0.05 to 0.5"),
        (NUMBER, [1], "[1] is not a number"),
        (SWITCH, "maybe", "'maybe' is not true or false"),
        (SWITCH, 2, "2 is not true or false"),
        (CHOICE, "bp", "parameter kind: 'bp' is not one of all, bmi (which)"),
        (Parameter("n", 1, "n", minimum=1), 0, "0 is less than 1. Pass a whole number of at least 1"),
        (Parameter("n", 1, "n", maximum=1), 2, "2 is greater than 1. Pass a whole number of at most 1"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(
    parameter: Parameter, given_value: Any, message: str
) -> None:
    with pytest.raises(UserError) as refused:
        parameter.parse(given_value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "text", ['say "no"', "two\nlines", "return\r", "back\\slash", "{{x}}", "/bin/python3"]
)
def test_what_kubeflow_would_mangle_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="which Kubeflow Pipelines changes"):
        TEXT.parse(text)


def test_values_that_are_not_given_are_the_defaults() -> None:
    assert parse_values(ALL, {"rows": "4"}) == {
        "city": "Seoul", "day": "", "rows": 4, "share": 0.2, "fast": False, "kind": "all", "free": 0,
    }  # fmt: skip


def test_an_unknown_name_is_refused_with_a_suggestion_and_every_allowed_one() -> None:
    with pytest.raises(UserError) as refused:
        parse_values(ALL, {"row": 1})
    message = str(refused.value)
    assert message.startswith("there is no run parameter 'row'; did you mean rows? The parameters are:\n")
    assert "  rows=3  how many: a whole number from 1 to 10" in message
    assert all(f"  {parameter.name}={parameter.default}" in message for parameter in ALL)


def test_an_unknown_name_that_resembles_nothing_gets_no_suggestion() -> None:
    with pytest.raises(UserError, match=r"no run parameter 'zzzzzz'\. The parameters are:"):
        parse_values(ALL, {"zzzzzz": 1})


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parse_assignments(["a=1", " b =x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["a"], "'a' is not of the form name=value"),
        (["=1"], "'=1' is not of the form name=value"),
        (["a=1", "a=1"], "parameter a is given twice"),
        (["a=1", " a=2"], "parameter a is given twice"),
    ],
)
def test_malformed_and_doubled_assignments_are_refused(assignments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_assignments(assignments)


@pytest.mark.parametrize("as_of", ["2026-11-21", "2026-11-21T10:05", "2026-11-21T10:05:01Z"])
def test_the_logical_time_is_a_date_or_a_time(as_of: str) -> None:
    assert parse_values(COMMON, {"as_of": as_of})["as_of"] == as_of


@pytest.mark.parametrize(
    "as_of", ["2024-13-45", "2023-02-29", "2024-01-01T25:00", "2024-01-01 10:00", "soon"]
)
def test_a_day_that_no_calendar_has_is_refused_with_an_example(as_of: str) -> None:
    with pytest.raises(
        UserError, match=r"is not text such as 2024-01-31 or 2024-01-31T06:00Z \(logical time"
    ):
        parse_values(COMMON, {"as_of": as_of})


VALUES = st.fixed_dictionaries(
    {
        "city": st.text(
            st.characters(exclude_characters='"\\\n\r', exclude_categories=["Cs"]), max_size=30
        ).filter(lambda text: "{{" not in text and "python3" not in text),
        "day": st.dates().map(lambda day: day.isoformat()),
        "rows": st.integers(1, 10),
        "share": st.floats(0.05, 0.5),
        "fast": st.booleans(),
        "kind": st.sampled_from(["all", "bmi"]),
        "free": st.integers(-(2**63), 2**63),
    }
)


@given(VALUES)
def test_lines_carry_every_value_unharmed(values: dict[str, Value]) -> None:
    lines = to_lines(values).split("\n")
    assert parse_values(ALL, parse_assignments(lines)) == values
