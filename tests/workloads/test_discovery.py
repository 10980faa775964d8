"""Tests of the discovery of workloads: packages on the path, and errors for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import workloads
from continuous_training.core.errors import UserError
from workloads import discovery

GOOD = """
from workloads.digits.workload import Digits


class Copy(Digits):
    name = "{name}"


{line}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An additional directory of workloads on the path."""
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, str(tmp_path)])
    return tmp_path


def add(folder: Path, name: str, declared_name: str, line: str = "WORKLOAD = Copy") -> None:
    (folder / name).mkdir()
    (folder / name / "workload.py").write_text(GOOD.format(name=declared_name, line=line))


def test_the_projects_workloads_are_registered_under_their_names() -> None:
    assert {"digits", "diabetes"} <= set(discovery.names())
    assert discovery.names() == sorted(discovery.names())
    assert all(discovery.get(name).name == name for name in ("digits", "diabetes"))


def test_another_folder_on_the_path_adds_workloads(folder: Path) -> None:
    add(folder, "elsewhere1", "elsewhere1")
    assert "elsewhere1" in discovery.names()
    assert discovery.get("elsewhere1").summary == discovery.get("digits").summary


@pytest.mark.parametrize(
    ("name", "declared_name", "line", "message"),
    [
        ("elsewhere2", "elsewhere2", "", "add the line `WORKLOAD = YourClass`"),
        ("elsewhere3", "elsewhere3", "WORKLOAD = Copy()", "add the line `WORKLOAD = YourClass`"),
        ("elsewhere4", "another", "WORKLOAD = Copy", "name is 'another' and its folder 'elsewhere4'"),
        ("Elsewhere5", "Elsewhere5", "WORKLOAD = Copy", "lower-case letters and digits"),
        ("else_where", "else_where", "WORKLOAD = Copy", "lower-case letters and digits"),
        ("else-where", "else-where", "WORKLOAD = Copy", "lower-case letters and digits"),
        ("5elsewhere", "5elsewhere", "WORKLOAD = Copy", "lower-case letters and digits"),
        ("e" * 42, "e" * 42, "WORKLOAD = Copy", "lower-case letters and digits"),
    ],
)
def test_an_invalid_workload_is_an_error_with_the_file(
    folder: Path, name: str, declared_name: str, line: str, message: str
) -> None:
    add(folder, name, declared_name, line)
    with pytest.raises(UserError, match=message) as error:
        discovery.get(name)
    assert str(folder / name / "workload.py") in str(error.value)


@pytest.mark.parametrize("name", ["nothing", "", "../digits", "digits.workload"])
def test_an_unknown_name_lists_the_registered_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"registered are: .*diabetes, digits"):
        discovery.get(name)


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (1, "task = 'clasification'", r"task is 'clasification' \(did you mean classification\?\)"),
        (2, "target = 'lable'", r"target is 'lable' \(did you mean label\?\); the columns are"),
        (3, "key = 'row'", r"key is 'row'; the columns are"),
        (
            4,
            "prediction = 'labels'",
            r"prediction is 'labels' \(did you mean label\?\); the handler's outputs",
        ),
        (5, "columns = ('a',)", "columns is not a tuple of Column"),
        (6, "summary = None", "summary is None, but must be a string"),
    ],
)
def test_an_invalid_class_attribute_is_an_error(folder: Path, number: int, change: str, message: str) -> None:
    name = f"mistaken{number}"
    add(folder, name, name)
    path = folder / name / "workload.py"
    path.write_text(path.read_text().replace("    name =", f"    {change}\n    name ="))
    with pytest.raises(UserError, match=message):
        discovery.get(name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "broken1",
            "import nothere\n",
            r"broken1/workload.py:1: ModuleNotFoundError: No module named 'nothere'",
        ),
        ("broken2", "x = (\n", r"broken2/workload.py:1: SyntaxError"),
        ("broken3", "\nx = {}['int']\n", r"broken3/workload.py:2: KeyError: 'int'"),
    ],
)
def test_a_module_that_fails_is_an_error_with_file_and_line(
    folder: Path, name: str, text: str, message: str
) -> None:
    (folder / name).mkdir()
    (folder / name / "workload.py").write_text(text)
    with pytest.raises(UserError, match=message):
        discovery.get(name)


def test_an_invalid_workload_does_not_hide_the_others(folder: Path) -> None:
    add(folder, "fine", "fine")
    (folder / "torn").mkdir()
    (folder / "torn" / "workload.py").write_text("x = (\n")
    loaded, errors = discovery.usable()
    assert "fine" in loaded
    assert list(errors) == ["torn"]
    assert "SyntaxError" in errors["torn"]
    with pytest.raises(UserError, match="SyntaxError"):
        discovery.usable(["fine", "torn"])
