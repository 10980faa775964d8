"""The mutants of benchmarks.mutants."""

from __future__ import annotations

import pytest

from benchmarks.mutants.mutations import mutants_of


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a == b", {"a != b"}),
        ("a in b", {"a not in b"}),
        ("a and b", {"a or b"}),
        ("not a", {"not not a"}),
        ("a + b", {"a - b"}),
        ("x = 3", {"x = 4", "x = 2"}),
        ("x = True", {"x = False"}),
        ("a()\nb()", {"pass\nb()", "a()\npass", "b()\na()"}),
        ("raise a", {"pass"}),
        ("x += a", {"pass"}),
        ("'text'", set()),
        ("import a", set()),
    ],
)
def test_each_mutant_has_one_change(source: str, expected: set[str]) -> None:
    assert {mutant.source for mutant in mutants_of(source)} == expected


def test_a_mutant_names_the_line_and_the_change() -> None:
    (mutant,) = mutants_of("x = a\nif not x:\n    y = x\n")
    assert (mutant.line, mutant.before, mutant.after) == (2, "not x", "not not x")
