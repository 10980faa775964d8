"""The cause of a failed training on several nodes. The pods have the states that trainer 2.3.0 gave them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from continuous_training.adapters.kubernetes import node_failures
from continuous_training.adapters.kubernetes.node_failures import NodeFailures, NodeLostError
from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.messages import ERROR

TORCHRUN = (
    "E1129 15:07:03.1 7 torch/distributed/elastic/multiprocessing/api.py:1003] failed (exitcode: {}) local"
)
LOST = ERROR + json.dumps({"exit_code": 75, "error": "the connection to another training process was lost"})


@dataclass
class Logs:
    """The logs of the pods; a name with a trailing slash is the log of a container before its restart."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def logs(self, pod: str, container: str, lines: int, previous: bool) -> list[str]:
        assert (container, lines) == ("node", 100)
        return self.lines.get(pod + "/" * previous, [])


def pod(
    name: str, code: int | None = None, second: int = 0, *, restarted: bool = False, **metadata: Any
) -> dict[str, Any]:
    """Return a pod whose container ended with that exit code at that second; None: it runs."""
    ended = {
        "terminated": {"exitCode": code, "reason": "Error", "finishedAt": f"2026-11-29T15:07:{second:02}Z"}
    }
    running = {"running": {}}
    state = running if restarted or code is None else ended
    container = {"name": "node", "state": state, "lastState": ended if restarted else {}}
    return {"metadata": {"name": name, "uid": name, **metadata}, "status": {"containerStatuses": [container]}}


def error_of(lines: dict[str, list[str]], *observations: list[dict[str, Any]]) -> PipelineError:
    failures = NodeFailures(Logs(lines), "node")  # type: ignore[arg-type]
    for pods in observations:
        failures.observe(pods)
    return failures.error("TrainJob t", "FailedJobs: jobset failed")


def test_the_first_failure_is_reported_with_its_log() -> None:
    lines = {"t-0": ["ValueError: bad shape", TORCHRUN.format(1), "torchrun's traceback"], "t-1": [LOST]}
    error = error_of(lines, [pod("t-0", 1, 4), pod("t-1", 1, 3)])
    assert type(error) is PipelineError
    assert "t-0 ended with exit code 1 (Error); the last lines of its log:\n    ValueError" in str(error)
    assert "torchrun's traceback" not in str(error)


def test_a_failure_is_kept_after_the_pod_was_deleted() -> None:
    error = error_of({"t-0": ["no more memory"]}, [pod("t-0", 7), pod("t-1")], [])
    assert "t-0 ended with exit code 7" in str(error)
    assert "no more memory" in str(error)
    assert not isinstance(error, TransientError)


def test_a_failure_before_a_restart_of_the_container_is_reported() -> None:
    error = error_of({"t-0/": ["the first run"], "t-0": ["the second run"]}, [pod("t-0", 7, restarted=True)])
    assert "the first run" in str(error)


def test_a_user_error_of_any_node_is_raised() -> None:
    report = ERROR + json.dumps({"exit_code": 2, "error": "the rows have no label"})
    error = error_of({"t-0": [LOST], "t-1": [report]}, [pod("t-0", 1, 1), pod("t-1", 1, 2)])
    assert isinstance(error, UserError)
    assert str(error) == "the rows have no label"


@pytest.mark.parametrize(
    ("lines", "observations"),
    [
        pytest.param({}, [[pod("t-0", 137)]], id="a signal ended the container"),
        pytest.param({"t-0": [TORCHRUN.format(-9)]}, [[pod("t-0", 1)]], id="a signal ended the process"),
        pytest.param(
            {}, [[pod("t-0", 1, deletionTimestamp="2026-11-29T15:07:00Z")]], id="the pod was deleted"
        ),
        pytest.param({"t-0": [LOST]}, [[pod("t-0", 1)]], id="the other node was lost"),
        pytest.param({}, [[pod("t-0"), pod("t-1")], []], id="the pods do not exist any more"),
        pytest.param(
            {},
            [[{"metadata": {"name": "t", "uid": "t"}, "status": {"phase": "Failed", "reason": "Evicted"}}]],
            id="the pod was evicted",
        ),
    ],
)
def test_a_lost_node_is_a_transient_error(
    lines: dict[str, list[str]], observations: list[list[dict[str, Any]]]
) -> None:
    assert isinstance(error_of(lines, *observations), NodeLostError)


def test_a_pod_that_is_deleted_because_another_failed_is_no_cause() -> None:
    deleted = pod("t-1", 143, 3, deletionTimestamp="2026-11-29T15:07:33Z")
    error = error_of({}, [pod("t-0", 1, 3), deleted])
    assert "t-0 ended with exit code 1" in str(error)
    assert not isinstance(error, TransientError)


def test_a_pod_that_failed_before_it_was_deleted_is_the_cause() -> None:
    """The controller deletes the pods of a failed Job, also those whose failure it does not know yet."""
    deletion = {"deletionTimestamp": "2026-11-29T15:07:35Z", "deletionGracePeriodSeconds": 30}
    error = error_of({"t-1": [LOST]}, [pod("t-0"), pod("t-1", 1, 4)], [pod("t-0", 1, 3, **deletion)])
    assert "t-0 ended with exit code 1 (Error)" in str(error)
    assert not isinstance(error, TransientError)
    error = error_of({"t-1": [LOST]}, [pod("t-0"), pod("t-1", 1, 9)], [pod("t-0", 1, 8, **deletion)])
    assert "t-0 ended with exit code 1 (Error) after it was deleted" in str(error)
    assert isinstance(error, NodeLostError)


def test_a_trainjob_without_pods_reports_its_own_reason() -> None:
    error = error_of({}, [])
    assert type(error) is PipelineError
    assert "FailedJobs: jobset failed" in str(error)


def test_the_other_nodes_have_time_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"now": 100.0}
    monkeypatch.setattr(node_failures.time, "monotonic", lambda: now["now"])
    failures = NodeFailures(Logs(), "node")  # type: ignore[arg-type]
    failures.observe([pod("t-0"), pod("t-1")])
    assert not failures.are_complete
    failures.observe([pod("t-0", 1), pod("t-1")])
    assert not failures.are_complete
    now["now"] += node_failures.SETTLING + 1
    assert failures.are_complete
    failures = NodeFailures(Logs(), "node")  # type: ignore[arg-type]
    failures.observe([pod("t-0", 1), pod("t-1", 1)])
    assert failures.are_complete
