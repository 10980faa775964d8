"""Retries of the creation of pods that a quota or a webhook has rejected.

Kubernetes tries again after a delay that doubles with each failure, up to 1,000 seconds. It does not try
earlier if the quota is raised, if other pods end, or if the webhook answers again. A change of the
Deployment's annotations makes it try at once, for the pods of the Deployment's current template.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ForbiddenError, NotThereError
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT
from continuous_training.rollout.kubernetes.pod_problems import creation_failure
from continuous_training.rollout.kubernetes.serving_objects import Manifest

RETRIED_ANNOTATION = "continuous-training/retried"
RETRY_INTERVAL = 5.0
"""Seconds between two retries."""


class PodCreation:
    """The creation of the pods of one Deployment."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._last_retry = float("-inf")

    def retry_if_failed(self, deployment: Manifest) -> None:
        """Let Kubernetes try again now, if it could not create pods and RETRY_INTERVAL has passed.

        Without the permission to patch the Deployment, Kubernetes tries again at its own time.
        """
        if creation_failure(deployment) is None or time.monotonic() - self._last_retry < RETRY_INTERVAL:
            return
        self._last_retry = time.monotonic()
        annotations = {RETRIED_ANNOTATION: datetime.now(UTC).isoformat(timespec="milliseconds")}
        with suppress(ForbiddenError, NotThereError):
            self.cluster.annotate(DEPLOYMENT, deployment["metadata"]["name"], annotations)
