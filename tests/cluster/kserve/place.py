"""A namespace with KServe in it: its kind, and its controller as the test plays it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE
from continuous_training.rollout.kserve.target import KServeTarget
from continuous_training.rollout.kubernetes.service_client import open_service_client

from ..place import Place
from . import controller
from .controller import Controller


@dataclass
class KServePlace(Place):
    """A namespace whose target is KServe."""

    def target(self, cluster: Cluster | None = None, **changes: Any) -> KServeTarget:  # type: ignore[override]
        """Return the target under test; `cluster` may be one with fewer rights."""
        settings = replace(self.settings, **changes)
        return KServeTarget(
            cluster or self.cluster, settings, self.store, self.tell, ask=open_service_client(self.cluster)
        )

    def service(self, name: str) -> Object | None:
        """Return an InferenceService."""
        return self.cluster.get(INFERENCE_SERVICE, name)


@contextmanager
def playing(place: Place, mode: str = "Standard") -> Iterator[tuple[KServePlace, Controller]]:
    """Have the controller reconcile the namespace's InferenceServices."""
    played = Controller(place.cluster, mode)
    with controller.running(played):
        yield KServePlace(place.cluster, place.store, place.settings), played
