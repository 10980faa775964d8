"""Tests of `python -m workloads`: its text and its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import workloads
from pipelines.compile import main as compile_main
from workloads.__main__ import main
from workloads.discovery import names


def test_every_workload_is_listed_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name}  " in f"\n{out}" for name in names())
    assert "test_size=0.2            share of the rows in the holdout: a number from 0.05 to 0.5" in out
    assert "features=all" in out


def test_json_contains_the_allowed_values_of_each_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "diabetes"]) == 0
    (diabetes,) = json.loads(capsys.readouterr().out)
    assert (diabetes["name"], diabetes["task"], diabetes["source"]) == (
        "diabetes", "regression", "sklearn:diabetes",
    )  # fmt: skip
    parameters = {parameter["name"]: parameter for parameter in diabetes["parameters"]}
    assert parameters["split"]["allowed"] == "one of hash, example"
    assert parameters["force"]["default"] is False


def test_an_unknown_workload_ends_with_2_and_lists_the_registered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digit"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: there is no workload 'digit'; registered are: ")
    assert "digits" in error


def test_workloads_runs_as_a_module() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "workloads", "--json"]
    completed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert [workload["name"] for workload in json.loads(completed.stdout)] == names()


def test_an_invalid_workload_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, str(tmp_path)])
    (tmp_path / "aabroken").mkdir()
    (tmp_path / "aabroken" / "workload.py").write_text("import nothere\n")
    assert main([]) == 2
    output = capsys.readouterr()
    assert "\ndigits  classification" in output.out
    assert output.err.startswith("broken: aabroken: ")
    assert "aabroken/workload.py:1: ModuleNotFoundError" in output.err
    assert main(["--json"]) == 2
    assert {"diabetes", "digits"} <= {workload["name"] for workload in json.loads(capsys.readouterr().out)}
    assert compile_main(["--output", str(tmp_path / "out")]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("broken: aabroken: ")
    assert (tmp_path / "out" / "digits.yaml").is_file()
    assert str(tmp_path / "out" / "digits.yaml") in output.out
    assert compile_main(["--output", str(tmp_path / "out"), "--workload", "aabroken"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
