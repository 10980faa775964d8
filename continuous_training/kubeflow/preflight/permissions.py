"""Whether the account that the steps run as may do what deploy-serving does."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.access_reviews import permissions_of, user_of
from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.kubeflow.preflight.finding import MISSING, THERE, UNSEEN, Finding
from continuous_training.rollout.kubernetes.permissions import REQUIRED_PERMISSIONS

_ROLE, _KSERVE = "manifests/base/role.yaml", "manifests/components/kserve"


def look_for(cluster: Cluster, target: str, account: str, namespace: str) -> Finding:
    """Return whether `account` of `namespace` may do all that the target needs in the cluster's one."""
    user, rules = user_of(namespace, account), REQUIRED_PERMISSIONS[target]
    what = f"permissions of {account} in namespace {cluster.namespace} for CT_TARGET={target}"
    if not rules:
        return Finding(THERE, what, "it needs none")
    try:
        allowed = permissions_of(cluster, user)
        lacking = [
            f"{verb} {_name(resource, sub)}"
            for resource, sub, verbs in rules
            for verb in verbs
            if not allowed(verb, resource, sub)
        ]
    except ForbiddenError:
        return Finding(UNSEEN, what, "this user may neither review its access nor impersonate it")
    if lacking:
        return Finding(MISSING, what, f"it may not {', '.join(lacking)}; {_grants(target)}")
    return Finding(THERE, what)


def _grants(target: str) -> str:
    return f"{_ROLE} and {_KSERVE} grant it" if target == "kserve" else f"{_ROLE} grants it"


def _name(resource: Resource, sub: str) -> str:
    """Return the kind of object as kubectl names it: `deployments.apps`, `pods/log`."""
    return f"{resource.plural}{f'.{resource.group}' if resource.group else ''}{f'/{sub}' if sub else ''}"
