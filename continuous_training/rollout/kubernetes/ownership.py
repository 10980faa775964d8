"""Objects of other owners that have the name of a model: they are never changed."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.resources import DISRUPTION_BUDGET, SERVICE
from continuous_training.core.errors import UserError
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL, Manifest
from continuous_training.rollout.trial import trial_name

_MANAGED_BY, _MANAGER = "app.kubernetes.io/managed-by", "continuous-training"


def check_ownership(cluster: Cluster, name: str) -> None:
    """Raise UserError if the rollout of a model would change or delete an object of another owner."""
    if objects := foreign_objects(cluster, name):
        raise UserError(
            f"the model {name!r} cannot be served in namespace {cluster.namespace}: {' and '.join(objects)} "
            "of another owner would be changed. Nothing was changed. Rename the workload, or set "
            "CT_SERVING_NAMESPACE to another namespace"
        )


def foreign_objects(cluster: Cluster, name: str) -> list[str]:
    """Return the kind and name of the objects that a rollout of a model applies and does not own.

    An object is owned if it has a label of the rollouts. Objects that the caller may not read are left out.
    """
    objects = []
    for resource, object_name in ((SERVICE, name), (SERVICE, trial_name(name)), (DISRUPTION_BUDGET, name)):
        try:
            manifest = cluster.get(resource, object_name)
        except ForbiddenError:
            # Roles of earlier versions do not permit this.
            continue
        if manifest is not None and not _is_owned(manifest):
            objects.append(f"{resource.kind} {object_name}")
    return objects


def _is_owned(manifest: Manifest) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    return labels.get(_MANAGED_BY) == _MANAGER or MODEL_LABEL in labels
