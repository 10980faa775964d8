"""A workload's whole pipeline by its command line, and what it serves asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.processes import ROOT, Taken, measured
from continuous_training.artifacts.dataset import Dataset

DATA = ROOT.parent / "shared" / "data"
REJECTED = 3


@dataclass(frozen=True)
class Run:
    """What a run came to, what its process and those of its steps took, and where it left its artifacts."""

    result: dict[str, Any]
    taken: Taken

    @property
    def folder(self) -> Path:
        """The run's folder below the state folder."""
        return Path(self.result["state"]) / "runs" / str(self.result["run"])

    @property
    def dataset(self) -> Dataset:
        """The rows that the run prepared."""
        (found,) = self.folder.glob("artifacts/*/prep-data/data")
        return Dataset.open(found)

    @property
    def evaluation(self) -> dict[str, Any]:
        """The verdict, and all that it rests on."""
        (found,) = self.folder.glob("artifacts/*/evaluate/evaluation/evaluation.json")
        loaded: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        return loaded


def run(workload: str, state: Path, verdict: str = "promoted", **given: object) -> Run:
    """Run the pipeline as a user does; SystemExit when it fails, AssertionError for another verdict."""
    sets = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    command = ["pipelines.run", "--workload", workload, "--state", str(state), "--json", *sets]
    taken = measured(*command, codes=(0, REJECTED))
    assert taken.told["verdict"] == verdict, taken.told["reasons"]
    return Run(taken.told, taken)


def ask(run: Run, request: Any) -> Any:
    """Return the endpoint's answer to a request, by the very version that the run has made."""
    response = requests.post(run.result["endpoint"], json=request, timeout=120)
    assert response.ok, response.text[:500]
    assert response.headers["x-model-digest"] == run.result["digest"]
    return response.json()


def in_parts(rows: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield the rows some at a time."""
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]
