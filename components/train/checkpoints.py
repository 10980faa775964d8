"""Checkpoints in the object store, so that a retried step finds them on any machine."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import TransientError
from continuous_training.core.progress import Progress


@dataclass(frozen=True)
class StoredCheckpoints:
    """The checkpoint of one input digest: `checkpoints/WORKLOAD/INPUT_DIGEST` in the store."""

    store: ObjectStore
    workload: str
    input_digest: str
    progress: Progress

    @property
    def key(self) -> str:
        """The object's key."""
        return f"checkpoints/{self.workload}/{self.input_digest}"

    def latest(self) -> bytes | None:
        """Return the state of the latest checkpoint, or None."""
        return self.store.read(self.key)

    def save(self, state: bytes) -> None:
        """Replace the checkpoint. Log a warning if the store is temporarily unavailable."""
        try:
            self.store.write(self.key, state)
        except TransientError as error:
            # Training continues, because the model is more valuable than the checkpoint.
            self.progress(f"the checkpoint could not be saved; training continues: {error}")

    def clear(self) -> None:
        """Delete the checkpoint."""
        self.store.delete(self.key)
