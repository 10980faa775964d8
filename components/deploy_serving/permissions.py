"""What deploy-serving does with the cluster's objects; manifests/base/role.yaml allows it."""

from __future__ import annotations

from adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    EVENT,
    LEASE,
    POD,
    SERVICE,
    Resource,
)

from .inference_service import INFERENCE_SERVICE

Rule = tuple[Resource, str, tuple[str, ...]]
"""A kind of object, its subresource or "", and the verbs."""

# Server-side apply asks for patch, and for create where the object is new.
_APPLY = ("get", "create", "patch")
_LEASE: Rule = (LEASE, "", ("get", "create", "update"))
_WHY: tuple[Rule, ...] = ((POD, "", ("list",)), (POD, "log", ("get",)), (EVENT, "", ("list",)))
"""What a failed rollout is told from."""

NEEDED: dict[str, tuple[Rule, ...]] = {
    "local": (),
    "torchserve": (),
    "kubernetes": (
        _LEASE,
        (DEPLOYMENT, "", (*_APPLY, "list", "watch", "delete")),
        (SERVICE, "", (*_APPLY, "delete")),
        (AUTOSCALER, "", _APPLY),
        (DISRUPTION_BUDGET, "", _APPLY),
        *_WHY,
    ),
    "kserve": (
        _LEASE,
        (INFERENCE_SERVICE, "", (*_APPLY, "delete")),
        (DEPLOYMENT, "", ("get",)),
        *_WHY,
    ),
}
"""The rules by target (CT_TARGET)."""
