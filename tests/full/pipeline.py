"""Run a workload's pipeline on the command line, and request predictions over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.processes import ROOT, ProcessResult, run_measured
from continuous_training.artifacts.dataset import Dataset

DATA = ROOT.parent / "shared" / "data"
REJECTED = 3


@dataclass(frozen=True)
class Run:
    """The result of a run, the measurements of its process, and the paths of its artifacts."""

    result: dict[str, Any]
    process: ProcessResult

    @property
    def folder(self) -> Path:
        """The run's directory in the state directory."""
        return Path(self.result["state"]) / "runs" / str(self.result["run"])

    @property
    def dataset(self) -> Dataset:
        """The dataset of the run."""
        (path,) = self.folder.glob("artifacts/*/prep-data/data")
        return Dataset.open(path)

    @property
    def evaluation(self) -> dict[str, Any]:
        """The run's evaluation record."""
        (path,) = self.folder.glob("artifacts/*/evaluate/evaluation/evaluation.json")
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return loaded


def run(workload: str, state: Path, verdict: str = "promoted", **parameters: object) -> Run:
    """Run the pipeline command. Raises SystemExit if it fails, and AssertionError for another verdict."""
    sets = [part for name, value in parameters.items() for part in ("--set", f"{name}={value}")]
    command = ["pipelines.run", "--workload", workload, "--state", str(state), "--json", *sets]
    process = run_measured(*command, codes=(0, REJECTED))
    assert process.output["verdict"] == verdict, process.output["reasons"]
    return Run(process.output, process)


def predict(run: Run, request: Any) -> Any:
    """Return the endpoint's response, and assert that the model version of the run produced it."""
    response = requests.post(run.result["endpoint"], json=request, timeout=120)
    assert response.ok, response.text[:500]
    assert response.headers["x-model-digest"] == run.result["digest"]
    return response.json()


def batches(rows: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield the rows in batches of `size`."""
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]
