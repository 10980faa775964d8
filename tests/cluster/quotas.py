"""ResourceQuotas that limit the pods of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.rollout.kubernetes.readiness import pods_of
from continuous_training.rollout.kubernetes.serving_objects import pod_labels
from continuous_training.rollout.trial import DeployedVersion

from .cluster_namespace import QUOTA, ClusterNamespace
from .polling import wait_until

NAME = "tight"


def limit_pods(namespace: ClusterNamespace, pods: int) -> None:
    """Limit the namespace to a number of pods, and wait until the limit is in force."""
    namespace.cluster.apply(QUOTA, {"metadata": {"name": NAME}, "spec": {"hard": {"pods": str(pods)}}})

    def is_in_force() -> bool:
        status = (namespace.cluster.get(QUOTA, NAME) or {}).get("status", {})
        return bool(status.get("hard", {}).get("pods") == str(pods))

    assert wait_until(is_in_force)


def remove_limit(namespace: ClusterNamespace) -> None:
    """Remove the limit of `limit_pods`."""
    namespace.cluster.delete(QUOTA, NAME)


def count_pods(namespace: ClusterNamespace) -> int:
    """Return the number of pods in the namespace, terminating ones included."""
    return len(namespace.cluster.find(POD))


def lose_a_pod(namespace: ClusterNamespace, archive: Archive) -> None:
    """Delete a server of a version, as the drain of a node does."""
    labels = pod_labels(DeployedVersion(archive.name, archive.digest))
    pods = [pod for pod in pods_of(namespace.cluster, labels) if "-t" not in pod["metadata"]["name"]]
    namespace.kubectl("delete", "pod", pods[0]["metadata"]["name"], "--wait=false")


def before(target: Any, method: str, action: Callable[[], None]) -> Any:
    """Return the deployment target with an action before the next call of one of its methods."""
    original, actions = getattr(target, method), [action]

    def call(*arguments: Any) -> Any:
        while actions:
            actions.pop()()
        return original(*arguments)

    setattr(target, method, call)
    return target
