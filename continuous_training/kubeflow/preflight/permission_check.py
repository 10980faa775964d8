"""Preflight checks of the permissions of the steps' service account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from continuous_training.adapters.kubernetes.access_reviews import permissions_of, user_of
from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import WORKFLOW, Resource
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS, Permission

_ROLE, _KSERVE = "manifests/base/role.yaml", "manifests/components/kserve"
_LAUNCHER_ROLE = "manifests/base/launcher-role.yaml"
_SCHEDULED_TIME = Permission(WORKFLOW, "", ("get",))
_NO_REVIEW = "this user can neither review the access of the account nor impersonate it"


def check_permissions(cluster: Cluster, target: str, account: str, namespace: str) -> Finding:
    """Return whether the account of `namespace` has the target's permissions in the cluster's namespace."""
    required = REQUIRED_PERMISSIONS[target]
    requirement = f"permissions of {account} in namespace {cluster.namespace} for CT_TARGET={target}"
    if not required:
        return Finding(State.OK, requirement, "none is required")
    failure = Finding(State.MISSING, requirement, f"it may not {{denied}}; {_granted_by(target)}")
    return review(cluster, user_of(namespace, account), required, failure)


def check_scheduled_time(cluster: Cluster, account: str) -> Finding:
    """Return whether the driver of Kubeflow Pipelines can read the time of a scheduled run."""
    requirement = f"the times of scheduled runs in namespace {cluster.namespace}"
    advice = (
        f"{account} may not {{denied}}: the logical time of a scheduled run is the time at which it "
        f"starts, possibly hours late; {_LAUNCHER_ROLE} grants it"
    )
    failure = Finding(State.WARNING, requirement, advice)
    return review(cluster, user_of(cluster.namespace, account), (_SCHEDULED_TIME,), failure)


def review(cluster: Cluster, user: str, required: Iterable[Permission], failure: Finding) -> Finding:
    """Return the finding about the permissions of a service account.

    It is `failure` if one is denied; its advice contains `{denied}` for the denied permissions.
    """
    try:
        denied = _denied_permissions(cluster, user, required)
    except ForbiddenError:
        return Finding(State.NOT_VISIBLE, failure.requirement, _NO_REVIEW)
    if denied:
        return replace(failure, advice=failure.advice.format(denied=", ".join(denied)))
    return Finding(State.OK, failure.requirement)


def _denied_permissions(cluster: Cluster, user: str, required: Iterable[Permission]) -> list[str]:
    """Return the permissions that a service account lacks. Raises ForbiddenError if no review is allowed."""
    is_allowed = permissions_of(cluster, user)
    return [
        f"{verb} {_kubectl_name(resource, subresource)}"
        for resource, subresource, verbs in required
        for verb in verbs
        if not is_allowed(verb, resource, subresource)
    ]


def _granted_by(target: str) -> str:
    return f"{_ROLE} and {_KSERVE} grant it" if target == "kserve" else f"{_ROLE} grants it"


def _kubectl_name(resource: Resource, subresource: str) -> str:
    """Return the resource as kubectl names it: `deployments.apps`, `pods/log`."""
    group = f".{resource.group}" if resource.group else ""
    return f"{resource.plural}{group}{f'/{subresource}' if subresource else ''}"
