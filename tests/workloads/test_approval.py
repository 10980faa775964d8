"""The setting `approval` of a workload, and the run parameter of the same name."""

from __future__ import annotations

from typing import ClassVar

import pytest

from continuous_training.core.errors import UserError
from workloads.digits.workload import Digits


class Careful(Digits):
    approval: ClassVar[str] = "required"
    approval_days: ClassVar[int] = 2


def test_a_run_decides_about_approval_by_default() -> None:
    assert Digits.parse({})["approval"] == ""
    assert Digits.parse({})["approval_days"] == 7
    assert Digits.parse({"approval": "required", "approval_days": "14"})["approval_days"] == 14


def test_the_error_lists_the_values_of_approval() -> None:
    with pytest.raises(UserError, match="'maybe' is not required or empty"):
        Digits.parse({"approval": "maybe"})


def test_a_run_cannot_avoid_the_approval_that_a_workload_requires() -> None:
    values = Careful.parse({})
    assert (values["approval"], values["approval_days"]) == ("required", 2)
    with pytest.raises(UserError, match="requires approval"):
        Careful.parse({"approval": ""})


@pytest.mark.parametrize(
    "parameters", [{"approval": "yes"}, {"approval_days": "0"}, {"approval_days": "1.5"}]
)
def test_invalid_values_are_rejected(parameters: dict[str, str]) -> None:
    with pytest.raises(UserError, match=f"parameter {next(iter(parameters))}"):
        Digits.parse(parameters)


def test_an_invalid_setting_is_rejected() -> None:
    class Wrong(Digits):
        approval: ClassVar[str] = "always"

    with pytest.raises(UserError, match="attribute approval is 'always'"):
        Wrong.parse({})
