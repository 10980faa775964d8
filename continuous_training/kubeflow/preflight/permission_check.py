"""Preflight check of permissions: the service account of the steps can perform a rollout."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.access_reviews import permissions_of, user_of
from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS

_ROLE, _KSERVE = "manifests/base/role.yaml", "manifests/components/kserve"


def check_permissions(cluster: Cluster, target: str, account: str, namespace: str) -> Finding:
    """Return whether the account of `namespace` has the target's permissions in the cluster's namespace."""
    required = REQUIRED_PERMISSIONS[target]
    requirement = f"permissions of {account} in namespace {cluster.namespace} for CT_TARGET={target}"
    if not required:
        return Finding(State.OK, requirement, "none is required")
    try:
        is_allowed = permissions_of(cluster, user_of(namespace, account))
        denied = [
            f"{verb} {_kubectl_name(resource, subresource)}"
            for resource, subresource, verbs in required
            for verb in verbs
            if not is_allowed(verb, resource, subresource)
        ]
    except ForbiddenError:
        advice = "this user can neither review the access of the account nor impersonate it"
        return Finding(State.NOT_VISIBLE, requirement, advice)
    if denied:
        return Finding(State.MISSING, requirement, f"it may not {', '.join(denied)}; {_granted_by(target)}")
    return Finding(State.OK, requirement)


def _granted_by(target: str) -> str:
    return f"{_ROLE} and {_KSERVE} grant it" if target == "kserve" else f"{_ROLE} grants it"


def _kubectl_name(resource: Resource, subresource: str) -> str:
    """Return the resource as kubectl names it: `deployments.apps`, `pods/log`."""
    group = f".{resource.group}" if resource.group else ""
    return f"{resource.plural}{group}{f'/{subresource}' if subresource else ''}"
