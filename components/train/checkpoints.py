"""Checkpoints in the object store: a retried step finds them on whatever machine it runs."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.errors import TransientError
from continuous_training.core.progress import Progress


@dataclass(frozen=True)
class StoredCheckpoints:
    """The checkpoint of one recipe, `checkpoints/WORKLOAD/RECIPE` in the store."""

    store: ObjectStore
    workload: str
    recipe: str
    progress: Progress

    @property
    def key(self) -> str:
        """The object's key."""
        return f"checkpoints/{self.workload}/{self.recipe}"

    def latest(self) -> bytes | None:
        """Return the state that was saved last, or None when there is none."""
        return self.store.read(self.key)

    def save(self, state: bytes) -> None:
        """Keep `state` in the place of the one before; says so when the store is not there for it."""
        try:
            self.store.write(self.key, state)
        except TransientError as error:
            # What was learnt is worth more than the way back to it.
            self.progress(f"no checkpoint could be kept, and training goes on: {error}")

    def clear(self) -> None:
        """Remove what was saved."""
        self.store.delete(self.key)
