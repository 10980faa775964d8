"""The order of a trial, its undo, and the wait for the traffic, with the target in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from continuous_training.adapters.object_store import FolderStore
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import PipelineError, TransientError, UnsettledError, UserError
from continuous_training.rollout import base_target
from continuous_training.rollout.trial import (
    DeployedVersion,
    IncompleteRestoreError,
    ResponseTimeoutError,
    Trial,
)
from continuous_training.serving.errors import VersionMismatchError
from tests.continuous_training.serving.toy_models import make_archive

from .memory_target import MemoryTarget, Scheduler


class ObservedTarget(MemoryTarget):
    """Records the operations of a trial, with the version that has the traffic before each of them.

    `errors` are raised by the method of that name, after its effect. `send_errors` are raised by the next
    requests, one each.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(Scheduler(), FolderStore(folder / "store"), self.record)
        self.events: list[tuple[str, str | None]] = []
        self.errors: dict[str, BaseException] = {}
        self.send_errors: Iterator[BaseException] = iter(())
        self.requests: list[str] = []

    def record(self, event: str) -> None:
        self.events.append((event, self.served_digest("toy")))

    def send(self, address: str, version: DeployedVersion, request: Any) -> tuple[Any, str]:
        self.requests.append(address)
        for error in self.send_errors:
            raise error
        return super().send(address, version, request)

    def _observe(self, method: str, operation: Callable[[], None]) -> None:
        self.record(method)
        operation()
        if error := self.errors.get(method):
            raise error

    def check_preconditions(self, name: str) -> None:
        if error := self.errors.get("check_preconditions"):
            raise error

    def start_trial(self, trial: Trial) -> None:
        self._observe("start_trial", lambda: MemoryTarget.start_trial(self, trial))

    def before_switch(self, trial: Trial) -> None:
        self._observe("before_switch", lambda: None)

    def switch(self, trial: Trial) -> None:
        self._observe("switch", lambda: MemoryTarget.switch(self, trial))

    def revert(self, name: str, digest: str) -> None:
        self._observe("revert", lambda: MemoryTarget.restore(self, name))

    def restore(self, name: str) -> None:
        self._observe("restore", lambda: MemoryTarget.restore(self, name))


@pytest.fixture
def target(tmp_path: Path) -> ObservedTarget:
    return ObservedTarget(tmp_path)


@pytest.fixture
def first(target: ObservedTarget, tmp_path: Path) -> Archive:
    """A confirmed version that has the traffic."""
    archive = make_archive(tmp_path, scale=2)
    target.begin_trial("toy", archive.path, archive.digest)
    target.confirm("toy", archive.digest)
    target.events.clear()
    target.requests.clear()
    return archive


@pytest.fixture
def second(tmp_path: Path) -> Archive:
    return make_archive(tmp_path, scale=3)


def test_the_traffic_moves_after_the_golden_requests_and_the_observation(
    target: ObservedTarget, first: Archive, second: Archive
) -> None:
    target.begin_trial("toy", second.path, second.digest)
    golden = f"golden requests: all responses of toy-{second.digest[:12]} on trial are correct"
    assert target.events == [
        (event, first.digest) for event in ("start_trial", golden, "before_switch", "switch")
    ]
    assert target.requests == ["toy-trial"] * 2 + ["toy"] * base_target.CONSECUTIVE_RESPONSES
    assert target.served_digest("toy") == second.digest


@pytest.mark.parametrize("method", ["start_trial", "before_switch", "switch"])
def test_a_failed_trial_is_undone(
    target: ObservedTarget, first: Archive, second: Archive, method: str
) -> None:
    target.errors[method] = error = PipelineError("no")
    with pytest.raises(PipelineError) as raised:
        target.begin_trial("toy", second.path, second.digest)
    assert raised.value is error
    assert [event for event, _ in target.events][-2:] == [method, "revert"]
    assert target.served_digest("toy") == first.digest
    assert target.scheduler.jobs == {DeployedVersion("toy", first.digest)}


def test_a_version_with_a_wrong_golden_response_gets_no_traffic(
    target: ObservedTarget, first: Archive, tmp_path: Path
) -> None:
    wrong = make_archive(tmp_path, scale=3, wrong=True)
    with pytest.raises(PipelineError, match="golden requests failed"):
        target.begin_trial("toy", wrong.path, wrong.digest)
    assert target.events == [("start_trial", first.digest), ("revert", first.digest)]
    assert target.requests == ["toy-trial"] * 2


@pytest.mark.parametrize("trial_error", [PipelineError("no"), TransientError("no")])
@pytest.mark.parametrize(
    ("undo_error", "kind"),
    [
        (UserError("gone"), UnsettledError),
        (TransientError("gone"), TransientError),
        (IncompleteRestoreError("gone"), UnsettledError),
    ],
)
def test_the_error_of_a_failed_undo_is_added_to_the_error_of_the_trial(
    target: ObservedTarget,
    first: Archive,
    second: Archive,
    trial_error: PipelineError,
    undo_error: PipelineError,
    kind: type[PipelineError],
) -> None:
    target.errors |= {"start_trial": trial_error, "revert": undo_error}
    with pytest.raises(kind) as raised:
        target.begin_trial("toy", second.path, second.digest)
    assert type(raised.value) is kind
    assert str(raised.value) == "no; the state before the trial could not be restored: gone"


def test_an_invalid_target_is_refused_before_an_interrupted_trial_is_restored(
    target: ObservedTarget, first: Archive, second: Archive
) -> None:
    target.begin_trial("toy", second.path, second.digest)
    target.errors["check_preconditions"] = UserError("no")
    with pytest.raises(UserError), target.rollout_lock("toy", print):
        pytest.fail("the lock was granted")
    assert target.served_digest("toy") == second.digest
    del target.errors["check_preconditions"]
    with target.rollout_lock("toy", print):
        assert target.served_digest("toy") == first.digest


@pytest.mark.parametrize("error", [None, IncompleteRestoreError("not complete")])
def test_the_next_rollout_restores_the_previous_version_and_replaces_it_if_it_is_not_complete(
    target: ObservedTarget, first: Archive, second: Archive, error: PipelineError | None
) -> None:
    target.begin_trial("toy", second.path, second.digest)
    target.errors |= {"restore": error} if error else {}
    with target.rollout_lock("toy", print):
        assert target.served_digest("toy") == first.digest
    messages = [event for event, _ in target.events]
    assert ("the rollout continues, although not complete" in messages) is bool(error)


def test_a_restore_that_fails_blocks_the_next_rollout(
    target: ObservedTarget, first: Archive, second: Archive
) -> None:
    target.begin_trial("toy", second.path, second.digest)
    target.errors["restore"] = UserError("the cluster refuses it")
    with pytest.raises(UserError), target.rollout_lock("toy", print):
        pytest.fail("the lock was granted")


def test_a_response_of_another_version_is_an_error(
    target: ObservedTarget, first: Archive, second: Archive
) -> None:
    message = f"toy: version {first.digest[:12]} responded instead of {second.digest[:12]}"
    with pytest.raises(VersionMismatchError, match=message):
        target.predict("toy", {"x": [1.0]}, second.digest)
    with pytest.raises(VersionMismatchError):
        target.predict("toy", {"x": [1.0]}, first.digest[:-1] + "x")


@pytest.mark.parametrize("error", [TransientError("busy"), VersionMismatchError("the previous version")])
def test_the_wait_for_the_traffic_ends_after_consecutive_responses(
    target: ObservedTarget, first: Archive, monkeypatch: pytest.MonkeyPatch, error: PipelineError
) -> None:
    """A failed request, here the first one, starts the count again."""
    waits: list[float] = []
    monkeypatch.setattr(base_target.time, "sleep", waits.append)
    target.send_errors = iter([error])
    target.wait_for_responses("toy", DeployedVersion("toy", first.digest))
    assert len(target.requests) == 1 + base_target.CONSECUTIVE_RESPONSES
    assert waits == [base_target.RESPONSE_INTERVAL]


def test_a_failure_after_some_responses_starts_the_count_again(
    target: ObservedTarget, first: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_target.time, "sleep", lambda _: None)
    original = target.send

    def send(address: str, version: DeployedVersion, request: Any) -> tuple[Any, str]:
        if len(target.requests) == 3:
            target.send_errors = iter([TransientError("busy")])
        return original(address, version, request)

    monkeypatch.setattr(target, "send", send)
    target.wait_for_responses("toy", DeployedVersion("toy", first.digest))
    assert len(target.requests) == 3 + 1 + base_target.CONSECUTIVE_RESPONSES


def test_the_wait_for_the_traffic_ends_with_the_last_error(
    target: ObservedTarget, first: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, base_target.SWITCH_TIMEOUT, base_target.SWITCH_TIMEOUT + 1])
    clock = SimpleNamespace(monotonic=lambda: next(times), sleep=lambda _: None)
    monkeypatch.setattr(base_target, "time", clock)
    target.send_errors = iter([TransientError("slow"), TransientError("busy")])
    message = f"toy-{first.digest[:12]} does not respond at toy after 60 s: busy"
    with pytest.raises(ResponseTimeoutError, match=message):
        target.wait_for_responses("toy", DeployedVersion("toy", first.digest))
