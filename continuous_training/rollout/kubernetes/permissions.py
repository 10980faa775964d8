"""What deploy-serving does with the cluster's objects; manifests/base/role.yaml allows it."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    EVENT,
    LEASE,
    POD,
    SERVICE,
    Resource,
)
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE

Permission = tuple[Resource, str, tuple[str, ...]]
"""A kind of object, its subresource or "", and the verbs."""

# Server-side apply asks for patch, and for create where the object is new.
_APPLY = ("create", "patch")
_COMMON: tuple[Permission, ...] = (
    (LEASE, "", ("get", "create", "update")),
    # What a rollout that fails is explained by.
    (POD, "", ("list",)),
    (POD, "log", ("get",)),
    (EVENT, "", ("list",)),
)
_KUBERNETES: tuple[Permission, ...] = (
    (DEPLOYMENT, "", ("get", "list", "watch", *_APPLY, "delete")),
    (SERVICE, "", ("get", *_APPLY, "delete")),
    (AUTOSCALER, "", _APPLY),
    (DISRUPTION_BUDGET, "", _APPLY),
    *_COMMON,
)

REQUIRED_PERMISSIONS: dict[str, tuple[Permission, ...]] = {
    "local": (),
    "kubernetes": _KUBERNETES,
    "torchserve": _KUBERNETES,
    "kserve": (
        (INFERENCE_SERVICE, "", ("get", *_APPLY, "delete")),
        (DEPLOYMENT, "", ("get",)),
        *_COMMON,
    ),
}
"""The rules by target (CT_TARGET)."""
