"""The retry of pods that could not be created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.rollout.kubernetes import pod_creation
from continuous_training.rollout.kubernetes.pod_creation import RETRIED_ANNOTATION, PodCreation


class AnnotatedCluster:
    """A cluster that records annotations, or refuses them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.annotated = error, list[tuple[str, str, list[str]]]()

    def annotate(self, resource: Resource, name: str, annotations: Mapping[str, str]) -> None:
        self.annotated.append((resource.kind, name, list(annotations)))
        if self.error:
            raise self.error


def deployment(status: str | None) -> dict[str, Any]:
    conditions = [{"type": "ReplicaFailure", "status": status}] if status else []
    return {"metadata": {"name": "digits-1"}, "status": {"conditions": conditions}}


@pytest.mark.parametrize("error", [None, ForbiddenError("not allowed")])
def test_failed_creation_is_retried_once_per_interval(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster: Any = AnnotatedCluster(error)
    creation = PodCreation(cluster)
    for _ in range(2):
        creation.retry_if_failed(deployment("True"))
    assert cluster.annotated == [("Deployment", "digits-1", [RETRIED_ANNOTATION])]
    monkeypatch.setattr(pod_creation, "RETRY_INTERVAL", 0.0)
    creation.retry_if_failed(deployment("True"))
    assert len(cluster.annotated) == 2


@pytest.mark.parametrize("status", ["False", None])
def test_deployment_without_a_failure_is_not_changed(status: str | None) -> None:
    cluster: Any = AnnotatedCluster()
    PodCreation(cluster).retry_if_failed(deployment(status))
    assert cluster.annotated == []
