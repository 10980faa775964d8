"""Admission policies that deny changes of objects in one namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.core.errors import PipelineError

from .cluster_namespace import ClusterNamespace
from .polling import wait_until

POLICY = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
POLICY_BINDING = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)
POLICY_MESSAGE = "no rollouts on Fridays"


@contextmanager
def denied_changes(
    namespace: ClusterNamespace, resource: Resource, change: Callable[[], object], allowed: str = "false"
) -> Iterator[None]:
    """Deny the creation and the changes of objects in the `with` block, except those that `allowed` selects.

    `allowed` is an expression in CEL. `change` makes a denied change; it is called until the policy has an
    effect, and then until it has none.
    """
    name = namespace.name
    group, _, version = resource.api_version.rpartition("/")
    rule = {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource.plural],
    }
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": allowed, "message": POLICY_MESSAGE}],
    }
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": selector}
    namespace.cluster.apply(POLICY, {"metadata": {"name": name}, "spec": policy})
    namespace.cluster.apply(POLICY_BINDING, {"metadata": {"name": name}, "spec": binding})
    try:
        assert wait_until(lambda: _is_denied(change)), "the policy has no effect"
        yield
    finally:
        namespace.cluster.delete(POLICY_BINDING, name)
        namespace.cluster.delete(POLICY, name)
    assert wait_until(lambda: not _is_denied(change)), "the deleted policy still has an effect"


def _is_denied(change: Callable[[], object]) -> bool:
    """Return whether the API server denies a change; it applies a changed policy after a moment."""
    try:
        change()
    except PipelineError:
        return True
    return False
