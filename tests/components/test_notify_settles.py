"""notify on a cluster: the endpoint serves the registry's champion, or the step exits with code 6."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.notify import __main__ as notify
from continuous_training.adapters.model_registry import CHAMPION, ModelVersion, Registry
from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.operations import settle
from continuous_training.operations.serving_state import ClusterServingState
from continuous_training.rollout.engine import roll_out
from continuous_training.serving.models.model_status import ON_TRIAL, READY, SERVING, ModelStatus
from tests.continuous_training.rollout.memory_target import MemoryTarget, Scheduler
from tests.continuous_training.serving.toy_models import make_archive
from tests.fakes import web


class KilledError(BaseException):
    """The process of a rollout is killed: nothing handles this error."""


@dataclass
class ClusterState:
    """A cluster that serves toy models, and the registry and store of its pipelines."""

    name: str
    folder: Path
    registry: Registry
    scheduler: Scheduler = field(default_factory=Scheduler)

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")

    def target(self) -> MemoryTarget:
        return MemoryTarget(self.scheduler, self.store, print)

    def add(self, scale: float) -> tuple[Archive, ModelVersion]:
        """Archive and register a model."""
        archive = make_archive(self.folder, name=self.name, scale=scale)
        key = f"archives/{self.name}/{archive.digest}.mar"
        self.store.put_if_absent(key, archive.path)
        tags = {"archive_digest": archive.digest, "archive_key": key}
        run = self.registry.run(self.name, f"run of scale {scale}")
        return archive, self.registry.register(self.name, run, tags)

    def promote(self, scale: float, *, killed: bool = False) -> Archive:
        """Roll a model out. `killed`: the process is killed after the alias has moved."""
        archive, version = self.add(scale)
        champion = self.registry.aliases(self.name).get(CHAMPION)
        target = self.target()
        if killed:
            # A killed process reverts nothing.
            target.revert = lambda *_: None  # type: ignore[method-assign]

        def make_champion() -> None:
            self.registry.promote(version, champion, "why", "run")
            if killed:
                raise KilledError

        with target.rollout_lock(self.name, print):
            roll_out(target, self.name, archive.path, archive.digest, make_champion, print)
        return archive

    def serving(self) -> ClusterServingState:
        """Return the serving state that pipelines.status reads from the cluster."""
        digest, confirmed = self.scheduler.routes.get(self.name), self.scheduler.confirmed.get(self.name)
        if digest is None:
            return ClusterServingState(None, {}, {})
        phase = SERVING if digest == confirmed else ON_TRIAL
        model = ModelStatus(self.name, READY, digest=digest, phase=phase, previous_digest=confirmed)
        return ClusterServingState(None, {self.name: model}, {})


@pytest.fixture
def cluster(registry: Registry, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterState:
    state = ClusterState(name, folder, registry)
    monkeypatch.setattr(settle, "open_target", lambda *_: state.target())
    monkeypatch.setattr(settle, "read_serving_state", lambda _: state.serving())
    for variable, value in {
        "CT_TARGET": "kubernetes",
        "CT_STORE": str(folder / "store"),
        "MLFLOW_TRACKING_URI": registry.uri,
        "CT_WEBHOOK": "",
    }.items():
        monkeypatch.setenv(variable, value)
    return state


RECORDS = [
    RunRecord(run="run-9", verdict="unchanged", reasons=("data unchanged",)),
    RunRecord(run="run-9", verdict="rejected", reasons=("not better",)),
    None,
]


@pytest.mark.parametrize("record", RECORDS, ids=["unchanged", "rejected", "failed"])
def test_the_champion_is_served_after_a_killed_rollout(
    cluster: ClusterState, record: RunRecord | None
) -> None:
    first = cluster.promote(1)
    with pytest.raises(KilledError):
        cluster.promote(2, killed=True)
    assert cluster.registry.aliases(cluster.name)[CHAMPION] == "2"
    assert cluster.scheduler.confirmed == {cluster.name: first.digest}
    if record:
        RunHistory(cluster.store, cluster.name).write_run(record)
    assert notify.main(["--workload", cluster.name, "--run-id", "run-9"]) == 0
    champion = cluster.registry.champion(cluster.name)
    assert champion is not None
    assert cluster.scheduler.routes == cluster.scheduler.confirmed == {cluster.name: champion.digest}
    assert cluster.target().predict(cluster.name, {"x": [1]}, champion.digest) == {"scale": 2, "y": [2]}
    assert find(cluster.store, cluster.name).digest == champion.digest
    stored = RunHistory(cluster.store, cluster.name).run("run-9")
    assert stored is not None
    assert (stored.verdict, stored.disagreement) == (record.verdict if record else "failed", None)


def test_nothing_changes_if_the_champion_is_served_or_there_is_none(
    cluster: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "open_target", lambda *_: pytest.fail("a target was opened"))
    arguments = ["--workload", cluster.name, "--run-id", "run-1"]
    assert notify.main(arguments) == 0
    cluster.add(1)
    assert notify.main(arguments) == 0
    cluster.promote(1)
    assert notify.main(arguments) == 0


def remove_archive(cluster: ClusterState) -> str:
    champion = cluster.registry.champion(cluster.name)
    assert champion is not None
    cluster.store.delete(champion.archive)
    return f"there is no {champion.archive}"


def remove_alias(cluster: ClusterState) -> str:
    cluster.registry.remove_alias(cluster.name, CHAMPION)
    return "is served, but the registry has no champion"


@pytest.mark.parametrize("break_champion", [remove_archive, remove_alias])
def test_a_disagreement_is_recorded_and_announced(
    cluster: ClusterState,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    break_champion: Callable[[ClusterState], str],
) -> None:
    first = cluster.promote(1)
    with pytest.raises(KilledError):
        cluster.promote(2, killed=True)
    cause = break_champion(cluster)
    history = RunHistory(cluster.store, cluster.name)
    history.write_run(RunRecord(run="run-9", verdict="unchanged"))
    with web(lambda *_: (200, b"ok")) as webhook:
        monkeypatch.setenv("CT_WEBHOOK", webhook.url)
        assert notify.main(["--workload", cluster.name, "--run-id", "run-9"]) == 6
    error = capsys.readouterr().err
    assert f"endpoint and registry of {cluster.name} disagree" in error
    assert cause in error
    assert f"python -m pipelines.rollback --workload {cluster.name} --to " in error
    assert cluster.target().predict(cluster.name, {"x": [1]}, first.digest) == {"scale": 1, "y": [1]}
    record = history.run("run-9")
    assert record is not None
    assert record.verdict == "unchanged"
    assert str(record.disagreement) in error
    bodies: list[dict[str, Any]] = [json.loads(body) for _, _, body in webhook.requests]
    assert [body["run"].get("disagreement") for body in bodies] == [record.disagreement]


def test_an_unreachable_registry_is_a_transient_error_after_the_announcement(
    cluster: ClusterState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("continuous_training.adapters.mlflow_rest.time.sleep", lambda _: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert notify.main(["--workload", cluster.name, "--run-id", "run-1"]) == 75
    captured = capsys.readouterr()
    assert captured.out == f"{cluster.name}: failed. the run did not finish; see its log\n"
    assert "cannot be reached" in captured.err
