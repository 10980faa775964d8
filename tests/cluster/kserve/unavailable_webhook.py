"""A webhook of KServe that does not answer: its controller does not run, and the failure policy is Fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.core.errors import TransientError
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kubernetes.serving_objects import Manifest

from ..cluster_namespace import ClusterNamespace
from ..polling import wait_until

WEBHOOK = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)


@contextmanager
def unavailable_webhook(namespace: ClusterNamespace, service: Manifest) -> Iterator[None]:
    """Let the API server reject changes of the namespace's InferenceServices during the block.

    `service` is a valid InferenceService, which is used for dry runs.
    """
    name = f"{namespace.name}.example.com"
    webhook = {
        "name": name,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
        "rules": [
            {
                "apiGroups": [INFERENCE_SERVICE.group],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": [INFERENCE_SERVICE.plural],
            }
        ],
    }
    cluster = namespace.cluster.with_retry_budget(0)

    def is_rejected() -> bool:
        try:
            cluster.apply(INFERENCE_SERVICE, service, dry_run=True)
        except TransientError:
            return True
        return False

    cluster.apply(WEBHOOK, {"metadata": {"name": name}, "webhooks": [webhook]})
    try:
        # The API server learns of the webhook a moment later.
        assert wait_until(is_rejected)
        yield
    finally:
        cluster.delete(WEBHOOK, name)
        assert wait_until(lambda: not is_rejected())
