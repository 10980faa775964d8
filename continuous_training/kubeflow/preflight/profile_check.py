"""Preflight checks of a profile, the namespace of a team on a Kubeflow with several users.

There, the API of Kubeflow Pipelines authenticates the steps and checks their permissions. Without a token or
the permissions, a run works, but notify does not learn that a run was terminated or which step was killed.
"""

from __future__ import annotations

from collections.abc import Iterator

from continuous_training.adapters.kubernetes.access_reviews import user_of
from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.partial_metadata import is_there
from continuous_training.adapters.kubernetes.resources import NAMESPACE, Resource
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.kubeflow.preflight.permission_check import review
from continuous_training.rollout.kubernetes.required_permissions import Permission

POD_DEFAULT = Resource("kubeflow.org/v1alpha1", "PodDefault", "poddefaults")
RUN = Resource("pipelines.kubeflow.org/v1beta1", "Run", "runs")
"""Runs are no objects of the cluster: Kubeflow Pipelines has the permissions for them reviewed."""

ACCESS = "continuous-training-access"
"""The PodDefault of the overlay that gives the steps a token."""

_PROFILE_LABELS = {"app.kubernetes.io/part-of": "kubeflow-profile", "pipelines.kubeflow.org/enabled": "true"}
_OVERLAY = "manifests/overlays/kubeflow-multiuser"
_EFFECT = "notify cannot tell that a run was terminated or which step was killed"
_RUNS = Permission(RUN, "", ("get", "list"))


def check_profile(cluster: Cluster, account: str) -> Iterator[Finding]:
    """Yield whether the steps can use the API of Kubeflow Pipelines, if the cluster's namespace is a profile.

    An empty `account` selects the default of the server, whose permissions are not checked.
    """
    if not _is_profile(cluster):
        return
    yield _check_token(cluster)
    if account:
        yield _check_runs(cluster, account)


def _is_profile(cluster: Cluster) -> bool:
    try:
        namespace = cluster.get(NAMESPACE, cluster.namespace)
    except ForbiddenError:
        return False
    labels = (namespace or {}).get("metadata", {}).get("labels", {})
    return any(labels.get(label) == value for label, value in _PROFILE_LABELS.items())


def _check_token(cluster: Cluster) -> Finding:
    requirement = f"PodDefault {ACCESS} in namespace {cluster.namespace}"
    try:
        exists = is_there(cluster, POD_DEFAULT, ACCESS)
    except ForbiddenError:
        return Finding(State.NOT_VISIBLE, requirement, "this user has no permission to read it")
    if not exists:
        advice = f"the steps get no token for Kubeflow Pipelines, so {_EFFECT}; {_OVERLAY} creates it"
        return Finding(State.WARNING, f"{requirement} does not exist", advice)
    return Finding(State.OK, requirement)


def _check_runs(cluster: Cluster, account: str) -> Finding:
    requirement = f"access of {account} to runs of Kubeflow Pipelines in namespace {cluster.namespace}"
    advice = f"it may not {{denied}}, so {_EFFECT}; {_OVERLAY} grants it"
    failure = Finding(State.WARNING, requirement, advice)
    return review(cluster, user_of(cluster.namespace, account), (_RUNS,), failure)
