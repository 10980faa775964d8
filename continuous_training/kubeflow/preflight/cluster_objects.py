"""Preflight checks of the objects to which a run refers. Each missing object is named with its manifest."""

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
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.kubeflow.preflight.references import Reference

CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")

_RESOURCES = {resource.kind: resource for resource in (CONFIG_MAP, SECRET, SERVICE_ACCOUNT, CLAIM)}
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
_FORBIDDEN = "this user has no permission to read it"
_BASE = "manifests/base"
_MANIFESTS = {
    ("ConfigMap", STEPS_CONFIG_MAP): f"{_BASE}/configmap.yaml",
    ("Secret", STEPS_SECRET): f"{_BASE}/secret.example.yaml",
    ("Secret", SERVER_SECRET): f"{_BASE}/secret.example.yaml",
    ("ServiceAccount", STEPS_ACCOUNT): f"{_BASE}/service-accounts.yaml",
    ("ServiceAccount", SERVER_ACCOUNT): f"{_BASE}/service-accounts.yaml",
}
"""The manifest that creates each object."""


def check_namespace(cluster: Cluster) -> Finding:
    """Return whether the cluster's namespace exists. Raises TransientError if the cluster does not answer."""
    name = cluster.namespace
    requirement = f"Namespace {name}"
    try:
        namespace = cluster.get(NAMESPACE, name)
    except ForbiddenError:
        return Finding(State.NOT_VISIBLE, requirement, _FORBIDDEN)
    if namespace is None:
        return Finding(State.MISSING, requirement, f"kubectl create namespace {name}")
    if namespace["metadata"].get("labels", {}).get(_POD_SECURITY) == "baseline":
        return Finding(
            State.WARNING,
            f"{requirement} enforces the Pod Security standard baseline, not restricted",
            "each time the manifests of Kubeflow Pipelines are applied, they set it; kubectl label "
            f"--overwrite namespace {name} {_POD_SECURITY}=restricted",
        )
    return Finding(State.OK, requirement)


def check_object(cluster: Cluster, reference: Reference) -> Finding:
    """Return whether the object exists. A missing optional object is a warning."""
    name = f"{reference.kind} {reference.name} in namespace {cluster.namespace}"
    resource = _RESOURCES[reference.kind]
    finding = _check_existence(name, lambda: is_there(cluster, resource, reference.name), _advice(reference))
    # A step also starts without its settings, but then it does not find the results of the previous step.
    optional = reference.optional and (reference.kind, reference.name) != ("ConfigMap", STEPS_CONFIG_MAP)
    if finding.state == State.MISSING and optional:
        advice = f"steps start without it; {finding.advice}"
        return Finding(State.WARNING, f"{name} does not exist", advice)
    return finding


def _advice(reference: Reference) -> str:
    manifest = _MANIFESTS.get((reference.kind, reference.name))
    if manifest is None:
        return f"the pipeline refers to it: create it, or compile the pipeline without that {reference.kind}"
    if reference.kind == "Secret":
        return f"manifests/secrets.sh creates it, and {manifest} shows its content"
    return f"{manifest} creates it"


def _check_existence(requirement: str, exists: Callable[[], bool], advice: str) -> Finding:
    try:
        is_present = exists()
    except ForbiddenError:
        return Finding(State.NOT_VISIBLE, requirement, _FORBIDDEN)
    return Finding(State.OK, requirement) if is_present else Finding(State.MISSING, requirement, advice)
