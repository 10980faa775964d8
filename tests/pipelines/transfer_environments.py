"""Two environments for tests of transfers: dev and prod, each with a registry and an object store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.prep_data import step as prep_data
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from tests.components.conftest import Line
from workloads import discovery

WEAK, MEDIUM, STRONG = {"fence": "70"}, {"fence": "60"}, {"fence": "50"}
"""Run parameters of models with many, some and no errors."""

_WORKLOAD = """
from workloads.fence.workload import Fence


class Own(Fence):
    name = {name!r}
    default_source = "made:400"


WORKLOAD = Own
"""


def write_workload(folder: Path, name: str) -> None:
    """Write a workload of this name to a folder of workloads."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "workload.py").write_text(_WORKLOAD.format(name=name))


@dataclass
class TestEnvironment:
    """One environment: the options that name it, and its steps."""

    __test__ = False

    name: str
    uri: str
    store_uri: str
    line: Line

    @property
    def registry(self) -> Registry:
        return self.line.registry

    @property
    def history(self) -> RunHistory:
        return RunHistory(self.line.store, self.name)

    def options(self, side: str) -> list[str]:
        """Return the options of one side, `from` or `to`."""
        return [f"--{side}", self.uri, f"--{side}-store", self.store_uri]

    def promote(self, run: str, parameters: dict[str, str]) -> str:
        """Make a model the champion, without an endpoint. Return its digest."""
        archived = self.line.promote(run, **parameters)
        record = RunRecord(run=run, verdict="promoted", version=archived.version, digest=archived.digest)
        self.history.write_run(record)
        return archived.digest

    def champion(self) -> str | None:
        """Return the digest of the champion."""
        champion = self.registry.champion(self.name)
        return champion and champion.digest


def open_environment(
    name: str, uri: str, store_uri: str, registry: Registry, store: ObjectStore, folder: Path
) -> TestEnvironment:
    folder.mkdir(exist_ok=True)
    line = Line(discovery.get(name), registry, store, folder)  # type: ignore[arg-type]
    return TestEnvironment(name, uri, store_uri, line)


def prepare_rows(state: Path, name: str, **parameters: str) -> Path:
    """Write a dataset to where a local run of a state directory leaves it."""
    folder = state / "runs" / f"{name}-20261129T120000-ab12" / "artifacts" / "1" / "prep-data" / "data"
    folder.parent.mkdir(parents=True)
    prep_data.run(discovery.get(name), parameters, folder)
    return folder
