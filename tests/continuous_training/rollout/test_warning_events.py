"""The events that a failed rollout reports, and what they say about KServe's controller."""

from __future__ import annotations

from typing import Any

import pytest

from continuous_training.rollout.kserve.controller_problems import find_controller_problem
from continuous_training.rollout.kubernetes import pod_problems
from continuous_training.rollout.kubernetes.pod_problems import PodProblem, find_problem
from continuous_training.rollout.kubernetes.warning_events import EventFilter, find_warnings

START = "2026-11-29T10:00:00Z"


class Events:
    """A cluster with events."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)

    def find(self, *_: Any, fields: str) -> list[dict[str, Any]]:
        assert fields == "type=Warning"
        return self.events


def event(kind: str, name: str, message: str, time: str = "2026-11-29T10:00:05Z") -> dict[str, Any]:
    return {
        "involvedObject": {"kind": kind, "name": name},
        "reason": "Failed",
        "message": message,
        "lastTimestamp": time,
    }


def warnings(*events: dict[str, Any], since: str = START) -> list[str]:
    cluster: Any = Events(*events)
    return find_warnings(cluster, EventFilter("digits-predictor", "digits", since))


def test_events_of_the_owner_the_deployment_and_its_pods_are_reported_in_order() -> None:
    assert warnings(
        event("Pod", "digits-predictor-5f-x", "second", "2026-11-29T10:00:07Z"),
        event("InferenceService", "digits", "first"),
        event("Deployment", "digits-predictor", "third", "2026-11-29T10:00:09Z"),
    ) == ["Failed: first", "Failed: second", "Failed: third"]


@pytest.mark.parametrize(
    "other",
    [
        event("InferenceService", "digits-t1a2b", "of another trial"),
        event("HorizontalPodAutoscaler", "digits-predictor", "no metrics"),
        event("Pod", "digits-predictor-5f-x", "of an earlier rollout", "2026-11-29T09:59:59Z"),
        event("Pod", "other", "of another model"),
    ],
)
def test_other_events_are_not_reported(other: dict[str, Any]) -> None:
    assert warnings(other) == []


@pytest.mark.parametrize(
    "times",
    [
        {"lastTimestamp": None, "eventTime": "2026-11-29T10:00:00.000001Z"},
        {"lastTimestamp": None, "eventTime": START, "series": {"lastObservedTime": "2026-11-29T10:00:01Z"}},
        {"lastTimestamp": START},
    ],
)
def test_every_kind_of_time_is_compared_with_the_start_of_the_rollout(times: dict[str, Any]) -> None:
    current = event("Pod", "digits-predictor-5f-x", "current") | times
    assert warnings(current) == ["Failed: current"]
    assert warnings(current, since="2026-11-29T10:00:02Z") == []


def test_five_different_events_at_most_are_reported() -> None:
    events = [
        event("Pod", "digits-predictor-x", f"m{number % 7}", f"2026-11-29T10:00:{number:02}Z")
        for number in range(30)
    ]
    assert warnings(*events) == [f"Failed: m{number % 7}" for number in range(25, 30)]


def test_a_controller_problem_is_the_last_error_of_the_controller_or_its_silence() -> None:
    pod: Any = Events(event("Pod", "digits-predictor-x", "not of the controller"))
    silent = find_controller_problem(pod, "digits", START)
    assert "has not processed InferenceService digits" in silent.message
    assert silent.grace_period == 60
    conflict = (
        "Operation cannot be fulfilled on inferenceservices: the object has been modified; please apply"
    )
    istio = "Istio VirtualService CRD not present; VirtualService reconciliation skipped"
    harmless: Any = Events(*(event("InferenceService", "digits", text) for text in (conflict, istio)))
    assert find_controller_problem(harmless, "digits", START) == silent
    errors: Any = Events(event("InferenceService", "digits", "Deployment is invalid: must be less than"))
    failing = find_controller_problem(errors, "digits", START)
    assert failing.message == "KServe reports Failed: Deployment is invalid: must be less than"
    assert failing.grace_period == 15


@pytest.mark.parametrize(
    ("restarts", "reason", "expected"),
    [
        (0, "", "ended (Error, exit code 2)"),
        (1, "CrashLoopBackOff", "ended (Error, exit code 2)"),
        (1, "", "ended 2 times (Error, exit code 2)"),
        (2, "CrashLoopBackOff", "ended 2 times (Error, exit code 2)"),
    ],
)
def test_the_number_of_ends_of_a_container_is_reported_from_two_on(
    restarts: int, reason: str, expected: str
) -> None:
    container = {
        "name": "server",
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 2}},
    }
    pod = {"metadata": {"name": "digits-x"}, "status": {"containerStatuses": [container]}}
    problem = find_problem(None, [pod])
    assert problem is not None
    assert problem.message == f"container server of pod digits-x {expected}"


@pytest.mark.parametrize(
    ("message", "grace_period"),
    [
        ('failed calling webhook "pod-mutator": connection refused', pod_problems.WEBHOOK_GRACE),
        ("exceeded quota: tight", pod_problems.CREATION_GRACE),
        ('admission webhook "pods" denied the request', pod_problems.CREATION_GRACE),
    ],
)
def test_a_webhook_that_does_not_answer_has_a_longer_grace_period(message: str, grace_period: float) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    problem = find_problem({"status": {"conditions": [condition]}}, [])
    assert problem == PodProblem(f"pods cannot be created: {message}", grace_period)
    assert find_problem({"status": {"conditions": [{**condition, "status": "False"}]}}, []) is None
