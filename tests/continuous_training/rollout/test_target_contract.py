"""The contract between the rollout engine and every deployment target that runs without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.object_store import FolderStore
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import RolloutReverted, TransientError
from continuous_training.core.progress import Progress
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.local import LocalTarget
from continuous_training.rollout.target_interface import DeploymentTarget
from continuous_training.serving.process import daemon
from tests.continuous_training.serving.toy_models import make_archive
from tests.fakes import free_port

from .memory_target import MemoryTarget, Scheduler

REQUEST = {"x": [3.0]}

OpenTarget = Callable[[Progress], DeploymentTarget]


class Rollouts:
    """Rollouts of archives to one environment, each with a new target object, as in a new process."""

    def __init__(self, open_target: OpenTarget, folder: Path) -> None:
        self.open_target, self.folder = open_target, folder
        self.store = FolderStore(folder / "store")
        self.champions: list[str] = []
        self.messages: list[str] = []

    def target(self) -> DeploymentTarget:
        return self.open_target(self.messages.append)

    def archive(self, scale: float, *, wrong: bool = False) -> Archive:
        archive = make_archive(self.folder, scale=scale, wrong=wrong)
        self.store.put_if_absent(f"archives/{archive.name}/{archive.digest}.mar", archive.path)
        return archive

    def deploy(self, archive: Archive, make_champion: Callable[[], None] | None = None) -> None:
        target, digest = self.target(), archive.digest
        with target.rollout_lock(archive.name, self.messages.append):
            roll_out(
                target,
                archive.name,
                archive.path,
                digest,
                make_champion or (lambda: self.champions.append(digest)),
                self.messages.append,
            )

    def check_served(self, archive: Archive, scale: float) -> None:
        target = self.target()
        assert target.served_digest(archive.name) == archive.digest
        assert target.predict(archive.name, REQUEST, archive.digest) == {"scale": scale, "y": [3 * scale]}


@pytest.fixture(params=["memory", "local"])
def rollouts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rollouts]:
    """Rollouts to each kind of target."""
    if request.param == "memory":
        scheduler, store = Scheduler(), FolderStore(tmp_path / "store")
        yield Rollouts(lambda progress: MemoryTarget(scheduler, store, progress), tmp_path)
        return
    state = tmp_path / "state"
    daemon.start(state, free_port())
    yield Rollouts(lambda progress: LocalTarget(state, progress), tmp_path)
    daemon.stop(state)


def fail(error: BaseException) -> Callable[[], None]:
    """Return a `make_champion` that raises the error."""

    def make_champion() -> None:
        raise error

    return make_champion


def test_a_verified_version_replaces_the_served_one(rollouts: Rollouts) -> None:
    first, second = rollouts.archive(2), rollouts.archive(3)
    assert rollouts.target().served_digest(first.name) is None
    rollouts.deploy(first)
    rollouts.check_served(first, 2)
    rollouts.deploy(second)
    rollouts.check_served(second, 3)
    rollouts.deploy(second)
    rollouts.check_served(second, 3)
    assert rollouts.champions == [first.digest, second.digest, second.digest]


def test_a_failed_golden_request_leaves_the_previous_version(rollouts: Rollouts) -> None:
    first, wrong = rollouts.archive(2), rollouts.archive(3, wrong=True)
    rollouts.deploy(first)
    with pytest.raises(RolloutReverted, match=r"the previous version .* answers again"):
        rollouts.deploy(wrong)
    rollouts.check_served(first, 2)
    assert rollouts.champions == [first.digest]


def test_a_failed_first_version_leaves_nothing_served(rollouts: Rollouts) -> None:
    wrong = rollouts.archive(3, wrong=True)
    with pytest.raises(RolloutReverted):
        rollouts.deploy(wrong)
    assert rollouts.target().served_digest(wrong.name) is None


@pytest.mark.parametrize("error", [TransientError("the registry is unavailable"), KeyboardInterrupt()])
def test_a_failure_before_the_champion_moves_reverts_the_version(
    rollouts: Rollouts, error: BaseException
) -> None:
    first, second = rollouts.archive(2), rollouts.archive(3)
    rollouts.deploy(first)
    with pytest.raises(type(error)):
        rollouts.deploy(second, fail(error))
    rollouts.check_served(first, 2)


@pytest.mark.parametrize("has_previous", [True, False])
def test_the_next_rollout_settles_an_interrupted_one(rollouts: Rollouts, has_previous: bool) -> None:
    first, second, third = rollouts.archive(2), rollouts.archive(3), rollouts.archive(4)
    if has_previous:
        rollouts.deploy(first)
    killed = rollouts.target()
    with killed.rollout_lock(second.name, rollouts.messages.append):
        killed.begin_trial(second.name, second.path, second.digest)
    rollouts.check_served(second, 3)
    with pytest.raises(RolloutReverted):
        rollouts.deploy(rollouts.archive(5, wrong=True))
    rollouts.deploy(third)
    rollouts.check_served(third, 4)


def test_recovery_restores_the_confirmed_version(tmp_path: Path) -> None:
    scheduler, store = Scheduler(), FolderStore(tmp_path / "store")
    rollouts = Rollouts(lambda progress: MemoryTarget(scheduler, store, progress), tmp_path)
    first, second = rollouts.archive(2), rollouts.archive(3)
    rollouts.deploy(first)
    killed: Any = rollouts.target()
    with killed.rollout_lock(second.name, print):
        killed.begin_trial(second.name, second.path, second.digest)
    with rollouts.target().rollout_lock(first.name, print):
        rollouts.check_served(first, 2)
    assert (
        f"a rollout of toy was interrupted with {second.digest[:12]} on trial: restoring {first.digest[:12]}"
        in rollouts.messages
    )
    assert {job.digest for job in scheduler.jobs} == {first.digest}
