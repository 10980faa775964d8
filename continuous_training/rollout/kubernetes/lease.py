"""The lock for rollouts on a cluster: a Lease, as in client-go's leader election."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.errors import ConflictError
from continuous_training.adapters.kubernetes.resources import LEASE
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.core.progress import Progress
from continuous_training.rollout.kubernetes.serving_objects import Manifest

LEASE_SECONDS = 30
"""A Lease that was not renewed for this long belongs to a process that no longer runs."""

ACQUIRE_TIMEOUT = 1200.0
"""Seconds to wait for another rollout."""

_POLL_SECONDS = 1.0
_RENEWALS_PER_LEASE = 6


class LeaseLock:
    """The Lease of one name, held by at most one process at a time.

    A Lease that its holder does not renew is taken over `lease_seconds` after the last observed renewal. This
    process measures that time with its own clock, so the clocks of the processes need not agree.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        lease_seconds: int = LEASE_SECONDS,
        acquire_timeout: float = ACQUIRE_TIMEOUT,
    ) -> None:
        self.cluster, self.name = cluster, name
        self.lease_seconds, self.acquire_timeout = lease_seconds, acquire_timeout
        self.identity = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._new_holder: str | None = None
        self._last_renewal = time.monotonic()
        self._released = threading.Event()

    @contextmanager
    def hold(self, progress: Progress) -> Iterator[None]:
        """Hold the Lease during the block, after other processes have released it.

        Raises TransientError if that takes longer than the timeout.
        """
        self._acquire(progress)
        self._released.clear()
        renewal = threading.Thread(target=self._renew_periodically, name=f"lease {self.name}", daemon=True)
        renewal.start()
        try:
            yield
        finally:
            self._released.set()
            renewal.join()
            with suppress(PipelineError):
                self._release()

    def check(self) -> None:
        """Raise TransientError if another process may hold the Lease; call it before every change."""
        if self._new_holder is None and time.monotonic() - self._last_renewal > self.lease_seconds:
            self._renew(self.cluster)
        if self._new_holder is not None:
            raise TransientError(
                f"this rollout could not renew the Lease {self.name} in time, and {self._new_holder} took it "
                "over: this rollout stops without further changes"
            )

    def _acquire(self, progress: Progress) -> None:
        end, reported, last_seen = time.monotonic() + self.acquire_timeout, False, ("", 0.0)
        while True:
            lease = self.cluster.get(LEASE, self.name)
            spec = (lease or {}).get("spec", {})
            holder, now = spec.get("holderIdentity"), time.monotonic()
            renewal = f"{holder} {spec.get('renewTime')}"
            if renewal != last_seen[0]:
                last_seen = (renewal, now)
            expired = now - last_seen[1] > spec.get("leaseDurationSeconds", self.lease_seconds)
            if (not holder or expired) and self._take(lease):
                if holder:
                    progress(f"{holder} stopped renewing the Lease {self.name}: taking over its rollout")
                return
            if not reported and holder:
                reported = True
                progress(f"waiting for another rollout of {self.name}: {holder} holds its Lease")
            if now > end:
                raise TransientError(
                    f"another rollout of {self.name} has not ended within {self.acquire_timeout:g} s: "
                    f"{holder} holds its Lease in namespace {self.cluster.namespace}; try again later"
                )
            time.sleep(_POLL_SECONDS)

    def _take(self, lease: Manifest | None) -> bool:
        """Write this process's identity into the Lease; False if another process was faster."""
        try:
            if lease is None:
                self.cluster.create(LEASE, {"metadata": {"name": self.name}, "spec": self._spec(0)})
            else:
                transitions = lease.get("spec", {}).get("leaseTransitions", 0) + 1
                self.cluster.replace(LEASE, {**lease, "spec": self._spec(transitions)})
        except ConflictError:
            return False
        self._last_renewal = time.monotonic()
        return True

    def _spec(self, transitions: int) -> Manifest:
        now = _timestamp()
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.lease_seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _renew_periodically(self) -> None:
        interval = self.lease_seconds / _RENEWALS_PER_LEASE
        # An attempt ends before the next one is due, so that the end of the rollout does not wait for it.
        cluster = self.cluster.with_retry_budget(interval)
        while not self._released.wait(interval):
            with suppress(PipelineError):
                self._renew(cluster)

    def _renew(self, cluster: Cluster) -> None:
        lease = cluster.get(LEASE, self.name)
        spec = (lease or {}).get("spec", {})
        if spec.get("holderIdentity") != self.identity:
            self._new_holder = spec.get("holderIdentity") or "another process"
        elif lease is not None:
            with suppress(ConflictError):
                cluster.replace(LEASE, {**lease, "spec": {**spec, "renewTime": _timestamp()}})
                self._last_renewal = time.monotonic()

    def _release(self) -> None:
        lease = self.cluster.get(LEASE, self.name)
        if lease and lease.get("spec", {}).get("holderIdentity") == self.identity:
            self.cluster.replace(LEASE, {**lease, "spec": {**lease["spec"], "holderIdentity": ""}})


def _timestamp() -> str:
    """Return the current time in the format of a MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
