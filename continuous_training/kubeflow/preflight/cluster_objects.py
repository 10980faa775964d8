"""A look for the objects that a run names: there, or missing with the manifest that brings each."""

from __future__ import annotations

from collections.abc import Callable

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.partial_metadata import is_there
from continuous_training.adapters.kubernetes.resources import (
    CONFIG_MAP,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    Resource,
)
from continuous_training.kubeflow.object_names import (
    SERVER_ACCOUNT,
    SERVER_SECRET,
    STEPS_ACCOUNT,
    STEPS_CONFIG_MAP,
    STEPS_SECRET,
)
from continuous_training.kubeflow.preflight.finding import DOUBTFUL, MISSING, THERE, UNSEEN, Finding
from continuous_training.kubeflow.preflight.references import Named

CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")

_RESOURCES = {resource.kind: resource for resource in (CONFIG_MAP, SECRET, SERVICE_ACCOUNT, CLAIM)}
_BASE = "manifests/base"
_BROUGHT_BY = {
    ("ConfigMap", STEPS_CONFIG_MAP): f"{_BASE}/configmap.yaml",
    ("Secret", STEPS_SECRET): f"{_BASE}/secret.example.yaml",
    ("Secret", SERVER_SECRET): f"{_BASE}/secret.example.yaml",
    ("ServiceAccount", STEPS_ACCOUNT): f"{_BASE}/service-accounts.yaml",
    ("ServiceAccount", SERVER_ACCOUNT): f"{_BASE}/service-accounts.yaml",
}


def namespace(cluster: Cluster) -> Finding:
    """Return whether the cluster's namespace is there; TransientError when the cluster does not answer."""
    what = f"Namespace {cluster.namespace}"
    return _seen(
        what,
        lambda: cluster.get(NAMESPACE, cluster.namespace) is not None,
        f"kubectl create namespace {cluster.namespace}",
    )


def look_for(cluster: Cluster, named: Named) -> Finding:
    """Return whether the object is there; of an optional one that is not, a warning."""
    what = f"{named.kind} {named.name} in namespace {cluster.namespace}"
    resource = _RESOURCES[named.kind]
    found = _seen(what, lambda: is_there(cluster, resource, named.name), _advice(named))
    # Each step starts without its settings, too, and then finds nothing of what the one before has left.
    optional = named.optional and (named.kind, named.name) != ("ConfigMap", STEPS_CONFIG_MAP)
    if found.state == MISSING and optional:
        return Finding(DOUBTFUL, f"there is no {what}", f"steps start without it; {found.advice}")
    return found


def _advice(named: Named) -> str:
    manifest = _BROUGHT_BY.get((named.kind, named.name))
    if manifest is None:
        return f"the pipeline names it; create it, or compile the pipeline without that {named.kind}"
    if named.kind == "Secret":
        return f"manifests/secrets.sh makes it, {manifest} shows what is in it"
    return f"{manifest} brings it"


def _seen(what: str, look: Callable[[], bool], advice: str) -> Finding:
    try:
        there = look()
    except ForbiddenError:
        return Finding(UNSEEN, what, "this user may not look for it")
    return Finding(THERE, what) if there else Finding(MISSING, what, advice)
