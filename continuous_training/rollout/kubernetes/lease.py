"""One rollout at a time: a Lease that is held while it is renewed, as client-go's leader election does."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import ConflictError
from continuous_training.adapters.kubernetes.resources import LEASE
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.core.progress import Progress

SECONDS = 30
"""A holder that has not renewed its Lease for so long is dead."""

PATIENCE = 1200.0
"""How long another rollout is waited for, in seconds."""


class LeaseLock:
    """The Lease of one name, held by one process at a time.

    A dead holder's is taken over `seconds` after it was last seen to be renewed: by this process's own
    clock, so that clocks need not agree.
    """

    def __init__(
        self, cluster: Cluster, name: str, seconds: int = SECONDS, patience: float = PATIENCE
    ) -> None:
        self.cluster, self.name, self.seconds, self.patience = cluster, name, seconds, patience
        self.holder = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._lost: str | None = None
        self._renewed = time.monotonic()
        self._ended = threading.Event()

    @contextmanager
    def held(self, progress: Progress) -> Iterator[None]:
        """Hold it for the block, once others have let go; TransientError when that takes too long."""
        self._acquire(progress)
        self._ended.clear()
        renewing = threading.Thread(target=self._renew_regularly, name=f"lease {self.name}", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._ended.set()
            renewing.join()
            with suppress(PipelineError):
                self._release()

    def check(self) -> None:
        """Return when it is held for sure; TransientError when another process may hold it."""
        if self._lost is None and time.monotonic() - self._renewed > self.seconds:
            self._renew(self.cluster)
        if self._lost is not None:
            raise TransientError(
                f"this rollout was away for too long and {self._lost} has taken it over; nothing more is done"
            )

    def _acquire(self, progress: Progress) -> None:
        end, told, seen = time.monotonic() + self.patience, False, ("", 0.0)
        while True:
            found = self.cluster.get(LEASE, self.name)
            spec = (found or {}).get("spec", {})
            holder, now = spec.get("holderIdentity"), time.monotonic()
            mark = f"{holder} {spec.get('renewTime')}"
            if mark != seen[0]:
                seen = (mark, now)
            dead = now - seen[1] > spec.get("leaseDurationSeconds", self.seconds)
            if (not holder or dead) and self._take(found):
                if holder:
                    progress(f"{holder} has not renewed its Lease of {self.name}: its rollout is taken over")
                return
            if not told and holder:
                told = True
                progress(f"waiting for another rollout of {self.name}, held by {holder}")
            if now > end:
                raise TransientError(
                    f"another rollout of {self.name} has not ended for {self.patience:g} s (Lease "
                    f"{self.name} in {self.cluster.namespace} is held by {holder}); try later"
                )
            time.sleep(1)

    def _take(self, found: Object | None) -> bool:
        """Write our name into the Lease; False when somebody else was faster."""
        try:
            if found is None:
                self.cluster.create(LEASE, {"metadata": {"name": self.name}, "spec": self._spec(0)})
            else:
                changes = found.get("spec", {}).get("leaseTransitions", 0) + 1
                self.cluster.replace(LEASE, {**found, "spec": self._spec(changes)})
        except ConflictError:
            return False
        self._renewed = time.monotonic()
        return True

    def _spec(self, transitions: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _renew_regularly(self) -> None:
        # Each try ends before the next is due, so that the end of the rollout never waits for long.
        cluster = self.cluster.patient(self.seconds / 6)
        while not self._ended.wait(self.seconds / 6):
            with suppress(PipelineError):
                self._renew(cluster)

    def _renew(self, cluster: Cluster) -> None:
        found = cluster.get(LEASE, self.name)
        spec = (found or {}).get("spec", {})
        if spec.get("holderIdentity") != self.holder:
            self._lost = spec.get("holderIdentity") or "nobody"
        elif found is not None:
            renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            with suppress(ConflictError):
                cluster.replace(LEASE, {**found, "spec": {**spec, "renewTime": renewed}})
                self._renewed = time.monotonic()

    def _release(self) -> None:
        found = self.cluster.get(LEASE, self.name)
        if found and found.get("spec", {}).get("holderIdentity") == self.holder:
            self.cluster.replace(LEASE, {**found, "spec": {**found["spec"], "holderIdentity": ""}})
