"""Fixtures: two minimal workloads, variants of them, and the steps of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import workloads
from components.archive import step as archive
from components.evaluate import step as evaluate
from components.prep_data import step as prep_data
from components.run_context import RunContext
from components.train import step as train
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import FolderStore
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.checksums import CHECKSUMS, write_checksums
from workloads import discovery
from workloads.contract import Workload

Make = Callable[..., Workload]


@pytest.fixture(autouse=True)
def register_workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the workloads `fence` and `line` during a test."""
    folder = str(Path(__file__).parent / "workloads")
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, folder])


@pytest.fixture
def make(name: str) -> Make:
    """Return a function that creates a variant of a workload with other attributes and a unique name."""

    def variant(kind: str = "fence", **attributes: Any) -> Workload:
        base = type(discovery.get(kind))
        workload: Workload = type(
            "Variant", (base,), {"name": name, "__module__": base.__module__, **attributes}
        )()
        return workload

    return variant


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@dataclass
class Line:
    """The steps of the pipeline for one workload."""

    workload: Workload
    registry: Registry
    store: FolderStore
    folder: Path

    def train(self, run: str, **parameters: str) -> None:
        """Run prep-data and train."""
        prep_data.run(self.workload, parameters, self.folder / run / "data")
        train.run(self.workload, parameters, self.folder / run / "data", self.folder / run / "model")

    def evaluate(self, run: str) -> evaluate.EvaluationResult:
        parts = [self.folder / run / part for part in ("data", "model", "evaluation")]
        return evaluate.run(RunContext(self.workload, run, self.registry, self.store), *parts)

    def archive(self, run: str) -> ArchivedModel:
        folder = self.folder / run
        return archive.run(
            folder / "model", folder / "evaluation", folder / "archive", self.registry, self.store
        )

    def up_to_archive(self, run: str, **parameters: str) -> ArchivedModel:
        """Run all steps before deploy-serving."""
        self.train(run, **parameters)
        self.evaluate(run)
        return self.archive(run)

    def promote(self, run: str, **parameters: str) -> ArchivedModel:
        """Register a model and make it the champion, without an endpoint."""
        archived = self.up_to_archive(run, **parameters)
        version = self.registry.find(self.workload.name, archived.digest)
        assert version is not None
        self.registry.promote(version, archived.evaluated_champion, "; ".join(archived.reasons), run)
        return archived


def replace_checksums(folder: Path) -> None:
    """Write new checksums for an artifact that a test has changed."""
    (folder / CHECKSUMS).unlink()
    write_checksums(folder)


@pytest.fixture
def line(make: Make, registry: Registry, store: FolderStore, folder: Path) -> Line:
    """The steps for a variant of `fence`."""
    return Line(make(), registry, store, folder)
