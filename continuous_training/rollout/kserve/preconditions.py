"""The conditions under which KServe can serve a model."""

from __future__ import annotations

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.partial_metadata import is_known
from continuous_training.core.errors import UserError
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE, MANAGED_BY_LABELS

MAX_NAME_LENGTH = 40
"""In Knative mode a Service is named NAME-t1a2b-predictor-00001, which may have at most 63 characters."""


def check_preconditions(cluster: Cluster, name: str) -> None:
    """Check the cluster, the name and the owner of the InferenceService; raises UserError."""
    if not is_known(cluster, INFERENCE_SERVICE):
        raise UserError(
            f"this cluster has no {INFERENCE_SERVICE.kind} ({INFERENCE_SERVICE.api_version}): install "
            "KServe, or set CT_TARGET=kubernetes"
        )
    if len(name) > MAX_NAME_LENGTH:
        raise UserError(
            f"the model name {name!r} is too long for KServe, which appends to it: use at most "
            f"{MAX_NAME_LENGTH} characters"
        )
    service = cluster.get(INFERENCE_SERVICE, name)
    labels = service["metadata"].get("labels", {}) if service else MANAGED_BY_LABELS
    if not labels.items() >= MANAGED_BY_LABELS.items():
        raise UserError(
            f"InferenceService {name} in namespace {cluster.namespace} was not created by this "
            "pipeline and is not changed: delete it, or set CT_SERVING_NAMESPACE to another namespace"
        )
