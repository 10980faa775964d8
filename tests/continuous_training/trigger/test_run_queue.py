"""The queue in the object store: one run per key, one waiting run, and no lost or doubled run."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import TransientError, UserError
from continuous_training.trigger.dispatcher import Dispatcher
from continuous_training.trigger.errors import KeyReusedError, QueueFullError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus
from continuous_training.trigger.run_queue import RunQueue
from tests.s3 import ACCESS

from .memory_target import MemoryTarget

CI = RunTrigger("ci", "new labels")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(request.getfixturevalue("bucket").uri, ACCESS)


def submit(queue: RunQueue, key: str = "", **parameters: int) -> QueuedRun:
    return queue.submit("digits", CI, parameters, key).run


def test_a_run_is_found_by_its_id_in_another_replica(store) -> None:
    run = submit(RunQueue(store, window=60), "k", seed=1)
    other = RunQueue(store, window=60)
    assert other.find(run.id) == run
    assert (run.trigger, run.parameters, run.key) == (CI, {"seed": 1}, "k")
    for unknown in (
        "digits-20261129T000000-0001",
        "digits-x-0009",
        "../x",
        "",
        "digits",
        "a/b-1-1",
        "디-1-1",
    ):
        assert other.find(unknown) is None


def test_the_same_key_returns_the_same_run_within_the_window(store) -> None:
    first = RunQueue(store, window=60).submit("digits", CI, {"seed": 1}, "k")
    second = RunQueue(store, window=60).submit("digits", CI, {"seed": 1}, "k")
    assert (first.is_new, second.is_new) == (True, False)
    assert second.run == first.run
    with pytest.raises(KeyReusedError, match=first.run.id):
        RunQueue(store, window=60).submit("digits", CI, {"seed": 2}, "k")
    time.sleep(0.02)
    assert RunQueue(store, window=0.01).submit("digits", CI, {"seed": 1}, "k").is_new


def test_one_run_of_a_workload_waits(store) -> None:
    queue = RunQueue(store, window=60)
    active, waiting = submit(queue, seed=1), submit(queue, seed=2)
    with pytest.raises(QueueFullError, match=waiting.id):
        submit(queue, seed=3)
    assert queue.submit("mnist", CI, {}).is_new
    # The waiting run does what the request asks for. Its key now belongs to that run, too.
    assert queue.submit("digits", CI, {"seed": 2}, "k").run == waiting
    for run in (active, waiting):
        queue.record_end(run, RunStatus("promoted"))
    assert queue.submit("digits", CI, {"seed": 2}, "k").run == waiting
    assert queue.submit("digits", CI, {"seed": 2}, "k2").is_new
    assert {name: len(runs) for name, runs in queue.unfinished().items()} == {"digits": 1, "mnist": 1}


def test_simultaneous_requests_of_replicas_get_one_run_per_key(tmp_path: Path) -> None:
    queues = [RunQueue(open_store(str(tmp_path / "store")), window=60) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        submissions = list(pool.map(lambda queue: queue.submit("digits", CI, {}, "k"), queues))
    assert len({submission.run.id for submission in submissions}) == 1
    assert [submission.is_new for submission in submissions].count(True) == 1


def test_one_of_several_replicas_starts_a_run(tmp_path: Path) -> None:
    target = MemoryTarget()
    replicas = [
        Dispatcher(RunQueue(open_store(str(tmp_path / "store")), window=60), target, 1) for _ in range(8)
    ]
    run = submit(replicas[0].queue)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda replica: replica.process(), replicas))
    assert (target.started, target.repeated) == ([run.id], [])


def test_the_runs_of_a_workload_are_executed_one_after_the_other(store) -> None:
    target = MemoryTarget()
    dispatcher = Dispatcher(RunQueue(store, window=60), target, 1)
    first, second = submit(dispatcher.queue, seed=1), submit(dispatcher.queue, seed=2)
    other = dispatcher.queue.submit("mnist", CI, {}).run
    dispatcher.process()
    dispatcher.process()
    assert sorted(target.started) == sorted([first.id, other.id])
    target.verdicts[first.id] = "promoted"
    dispatcher.process()
    end = dispatcher.queue.end(first)
    assert end is not None
    assert (end.verdict, end.steps) == ("promoted", {"prep-data": "RUNNING"})
    assert target.started[-1] == second.id


def test_a_run_whose_replica_ended_before_its_start_is_started_again(tmp_path: Path) -> None:
    store, target = open_store(str(tmp_path)), MemoryTarget()
    lost = RunQueue(store, window=60)
    run = submit(lost)
    assert lost.claim(run) == 1
    Dispatcher(RunQueue(store, window=60), target, 1).process()
    assert target.repeated == []
    time.sleep(0.02)
    Dispatcher(RunQueue(store, window=60, claim_seconds=0.01), target, 1).process()
    assert (target.started, target.repeated) == ([], [run.id])


def test_a_start_that_fails_is_repeated_or_recorded(tmp_path: Path) -> None:
    target = MemoryTarget()
    queue = RunQueue(open_store(str(tmp_path)), window=60, claim_seconds=0.01)
    dispatcher = Dispatcher(queue, target, 1)
    run = submit(queue)
    target.failure = TransientError("not reachable")
    dispatcher.process()
    assert queue.end(run) is None
    time.sleep(0.02)
    target.failure = UserError("there is no pipeline")
    dispatcher.process()
    end = queue.end(run)
    assert end is not None
    assert (end.verdict, "there is no pipeline" in end.reasons[0]) == ("failed", True)


def test_a_waiting_run_is_cancelled_at_once_and_an_active_run_by_the_target(store) -> None:
    target = MemoryTarget()
    dispatcher = Dispatcher(RunQueue(store, window=60), target, 1)
    active, waiting = submit(dispatcher.queue, seed=1), submit(dispatcher.queue, seed=2)
    dispatcher.process()
    dispatcher.cancel(waiting, RunTrigger("ops", "too many"))
    end = dispatcher.queue.end(waiting)
    assert end is not None
    assert (end.verdict, end.reasons) == ("interrupted", ("cancelled by ops before it started",))
    dispatcher.cancel(active, RunTrigger("ops"))
    dispatcher.process()
    assert (target.started, target.cancelled) == ([active.id], [active.id])
    assert dispatcher.queue.unfinished() == {}


def test_a_run_that_is_cancelled_while_it_is_claimed_does_not_start(tmp_path: Path) -> None:
    target = MemoryTarget()
    queue = RunQueue(open_store(str(tmp_path)), window=60, claim_seconds=0.01)
    run = submit(queue)
    queue.claim(run)
    Dispatcher(queue, target, 1).cancel(run, RunTrigger("ops"))
    assert queue.end(run) is None
    time.sleep(0.02)
    Dispatcher(queue, target, 1).process()
    assert (target.started, target.repeated) == ([], [])
    end = queue.end(run)
    assert end is not None
    assert end.verdict == "interrupted"


def test_old_runs_are_removed_except_the_latest(store, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = RunQueue(store, window=0.01)
    runs = []
    for seed in range(4):
        runs.append(submit(queue, seed=seed))
        if seed != 2:
            queue.record_end(runs[-1], RunStatus("promoted"))
    queue.remove_old()
    assert [queue.find(run.id) for run in runs] == runs
    monkeypatch.setattr("continuous_training.trigger.run_queue.RETENTION", timedelta(0))
    time.sleep(0.02)
    queue.remove_old()
    # The third run is active.
    assert [queue.find(run.id) is not None for run in runs] == [False, False, True, True]
    queue.record_end(runs[2], RunStatus("promoted"))
    queue.remove_old()
    assert sorted(queue.entries("digits")) == [4]
    assert submit(queue).number == 5


def test_a_damaged_record_stops_only_its_workload(tmp_path: Path) -> None:
    store, target = open_store(str(tmp_path)), MemoryTarget()
    queue = RunQueue(store, window=60)
    damaged, other = submit(queue), queue.submit("mnist", CI, {}).run
    store.write("trigger/digits/00000001/start.json", b"{")
    with pytest.raises(ArtifactError):
        queue.started(damaged)
    Dispatcher(queue, target, 1).process()
    assert target.started == [other.id]
