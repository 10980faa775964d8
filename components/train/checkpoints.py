"""Checkpoints in the object store, so that a retried step finds them on any machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import TransientError
from continuous_training.core.progress import Progress

_DIGEST_BYTES = 64


@dataclass(frozen=True)
class StoredCheckpoints:
    """The checkpoint of one input digest: `checkpoints/WORKLOAD/INPUT_DIGEST` in the store.

    The object is the state, followed by its sha256 in hexadecimal digits.
    """

    store: ObjectStore
    workload: str
    input_digest: str
    progress: Progress

    @property
    def key(self) -> str:
        """The object's key."""
        return f"checkpoints/{self.workload}/{self.input_digest}"

    def latest(self) -> bytes | None:
        """Return the state of the latest checkpoint, or None. Report a damaged checkpoint and ignore it."""
        stored = self.store.read(self.key)
        if stored is None:
            return None
        state, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
        if _digest(state) != digest:
            self.progress(
                f"the checkpoint {self.key} is damaged, or an earlier version wrote it: its sha256 does not "
                "match. It is ignored, and training starts from the beginning"
            )
            return None
        return state

    def save(self, state: bytes) -> None:
        """Replace the checkpoint. Log a warning if the store is temporarily unavailable."""
        try:
            self.store.write(self.key, state + _digest(state))
        except TransientError as error:
            # Training continues, because the model is more valuable than the checkpoint.
            self.progress(f"the checkpoint could not be saved; training continues: {error}")

    def clear(self) -> None:
        """Delete the checkpoint."""
        self.store.delete(self.key)


def _digest(state: bytes) -> bytes:
    return hashlib.sha256(state).hexdigest().encode()
