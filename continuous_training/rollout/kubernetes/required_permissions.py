"""The permissions that deploy-serving needs on a cluster; manifests/base/role.yaml grants them."""

from __future__ import annotations

from typing import NamedTuple

from continuous_training.adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    EVENT,
    LEASE,
    POD,
    SERVICE,
    Resource,
)
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE


class Permission(NamedTuple):
    """The verbs that are needed on a resource, or on its subresource if that is not empty."""

    resource: Resource
    subresource: str
    verbs: tuple[str, ...]


# Server-side apply needs `patch`, and `create` for a new object.
_APPLY = ("create", "patch")
_COMMON = (
    Permission(LEASE, "", ("get", "create", "update")),
    # The diagnosis of a failed rollout.
    Permission(POD, "", ("list",)),
    Permission(POD, "log", ("get",)),
    Permission(EVENT, "", ("list",)),
)
_KUBERNETES = (
    Permission(DEPLOYMENT, "", ("get", "list", "watch", *_APPLY, "delete")),
    # `list`: notify compares the endpoint with the registry.
    Permission(SERVICE, "", ("get", "list", *_APPLY, "delete")),
    Permission(AUTOSCALER, "", _APPLY),
    Permission(DISRUPTION_BUDGET, "", ("get", *_APPLY)),
    *_COMMON,
)

REQUIRED_PERMISSIONS: dict[str, tuple[Permission, ...]] = {
    "local": (),
    "kubernetes": _KUBERNETES,
    "torchserve": _KUBERNETES,
    "kserve": (
        Permission(INFERENCE_SERVICE, "", ("get", "list", *_APPLY, "delete")),
        # `patch`: the retry of pods that could not be created.
        Permission(DEPLOYMENT, "", ("get", "patch")),
        # The canary in Standard mode.
        Permission(ENDPOINT_SLICE, "", ("list", *_APPLY, "delete")),
        *_COMMON,
    ),
}
"""The permissions by deployment target (CT_TARGET)."""
