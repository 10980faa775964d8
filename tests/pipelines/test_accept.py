"""Data that differ from the champion's: rejected by a run, and accepted by a person for one run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from continuous_training.evaluation.population_checks import DIFFERENT
from continuous_training.serving.process import daemon
from pipelines import history
from pipelines.run import main

from .champions import run_json

REASON = "the laboratory reports s3 in another unit since May"


def patients_in_another_unit(path: Path) -> str:
    """Write scikit-learn's patients with one column in another unit."""
    data = load_diabetes(scaled=False)
    rows = np.column_stack([data.data, data.target])
    rows[:, data.feature_names.index("s3")] *= 2.54
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*data.feature_names, "progression"], *rows.tolist()])
    return str(path)


def test_a_person_accepts_data_that_a_run_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    source = f"source={patients_in_another_unit(tmp_path / 'patients.csv')}"
    run = ("--workload", "diabetes", "--state", str(state))
    try:
        first = run_json(main, capsys, *run)
        rejected = run_json(main, capsys, *run, "--set", source, expect=3)
        assert rejected["verdict"] == "rejected"
        assert rejected["reasons"][0].startswith(f"{DIFFERENT}: ")
        assert "s3: the mean moved by +" in rejected["reasons"][0]
        assert 'run once with the run parameter accept="reason"' in rejected["reasons"][0]

        accepted = run_json(main, capsys, *run, "--set", source, "--set", f"accept={REASON}")
        assert (first["version"], accepted["verdict"], accepted["version"]) == ("1", "promoted", "2")
        record = json.loads((state / f"store/records/diabetes/runs/{accepted['run']}.json").read_text())
        assert record["accepted"] == REASON
        events = run_json(history.main, capsys, "--workload", "diabetes", "--state", str(state))["events"]
        assert any(f"accepted data: {REASON} (" in json.dumps(event) for event in events)

        again = run_json(main, capsys, *run, "--set", source)
        assert (again["verdict"], again["version"]) == ("unchanged", "2")
    finally:
        daemon.stop(state)
