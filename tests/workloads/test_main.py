"""`python -m workloads`: what a person and a program read there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.__main__ import main
from workloads.register import names


def test_every_workload_is_listed_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name}  " in f"\n{out}" for name in names())
    assert "test_size=0.2            share of the rows held out for judging: a number from 0.05 to 0.5" in out
    assert "features=all" in out


def test_json_names_what_each_parameter_allows(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_it_runs_as_a_module() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "workloads", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert [workload["name"] for workload in json.loads(done.stdout)] == names()
