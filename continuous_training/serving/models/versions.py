"""The loaded versions of the served models."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from continuous_training.serving.models.inference_time import InferenceTime
from continuous_training.serving.models.model import Model
from continuous_training.serving.models.model_status import ON_TRIAL, READY, SERVING, ModelStatus

log = logging.getLogger(__name__)


class VersionUnloadedError(Exception):
    """The version was unloaded after the caller had looked it up. The caller must look it up again."""


@dataclass(eq=False)
class LoadedVersion:
    """A version's model and its unpacked archive in `folder`.

    Requests use the model in a `with` block. `retire` unloads it when the last block has ended.
    """

    digest: str
    archive: Path
    model: Model
    folder: Path
    inference_time: InferenceTime = field(default_factory=InferenceTime)
    loaded_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    fallback_count: int = 0
    _users: int = 0
    _retired: bool = False
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def version(self) -> str:
        """The first twelve digits of the archive's digest."""
        return self.digest[:12]

    def __enter__(self) -> Model:
        """Return the model, which stays loaded inside the block. VersionUnloadedError if it is retired."""
        with self._lock:
            if self._retired:
                raise VersionUnloadedError
            self._users += 1
        return self.model

    def __exit__(self, *_: object) -> None:
        """End the use of the model. Unload it if it is retired and this was the last use."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._unload()

    def count_fallback(self) -> int:
        """Count a request that the previous version answered instead, and return the total."""
        with self._lock:
            self.fallback_count += 1
            return self.fallback_count

    def retire(self) -> None:
        """Unload the model now, or at the end of its last use."""
        with self._lock:
            first, self._retired = not self._retired, True
            idle = first and not self._users
        if idle:
            self._unload()

    def _unload(self) -> None:
        self.model.unload()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class ServedModel:
    """The version that is served under one name and, while it is on trial, the previous version."""

    current: LoadedVersion
    previous: LoadedVersion | None = None
    trial_deadline: float | None = None
    """The end of the trial on the monotonic clock; None if the version is confirmed."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.current.name

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the current version's archive."""
        return self.current.digest

    @property
    def model(self) -> Model:
        """The current version's model."""
        return self.current.model

    @property
    def archive(self) -> Path:
        """The path that the current version was loaded from."""
        return self.current.archive

    @property
    def loaded_at(self) -> str:
        """The time at which the current version was loaded, in UTC."""
        return self.current.loaded_at

    @property
    def phase(self) -> str:
        """`probation` while the version is on trial, or `serving`."""
        return SERVING if self.trial_deadline is None else ON_TRIAL

    @property
    def previous_digest(self) -> str | None:
        """The digest of the version that returns if the current one is not confirmed."""
        return self.previous.digest if self.previous else None

    def versions(self) -> list[LoadedVersion]:
        """Return the current version and, if any, the previous one."""
        return [version for version in (self.current, self.previous) if version is not None]

    def status(self) -> ModelStatus:
        """Return the status for the management API."""
        deadline = self.trial_deadline
        remaining = None if deadline is None else round(max(0.0, deadline - time.monotonic()), 1)
        return ModelStatus(
            name=self.name,
            state=READY,
            version=self.current.version,
            digest=self.digest,
            phase=self.phase,
            previous_digest=self.previous_digest,
            trial_seconds_left=remaining,
            fallback_responses=self.current.fallback_count,
            loaded_at=self.loaded_at,
            archive=str(self.archive),
        )


class ServedModels:
    """Maps names to served models, and retires the versions that a change replaces.

    Lookups need no lock, because a change replaces the whole mapping. Only one thread at a time may make
    changes; the caller holds the lock.
    """

    def __init__(self) -> None:
        self._models: dict[str, ServedModel] = {}

    def get(self, name: str) -> ServedModel | None:
        """Return the model that is served under a name, or None."""
        return self._models.get(name)

    def all(self) -> dict[str, ServedModel]:
        """Return all served models by name. Later changes do not modify the returned mapping."""
        return self._models

    def put(self, served: ServedModel) -> ServedModel:
        """Serve a model under its name from now on."""
        replaced = self._models.get(served.name)
        self._models = {**self._models, served.name: served}
        log.info("%s %s: %s", served.name, served.current.version, served.phase)
        _retire(replaced, keep=served.versions())
        return served

    def remove(self, name: str) -> None:
        """Stop serving a name."""
        removed = self._models.get(name)
        self._models = {key: served for key, served in self._models.items() if key != name}
        log.info("%s: no longer served", name)
        _retire(removed, keep=[])


def _retire(served: ServedModel | None, keep: list[LoadedVersion]) -> None:
    for version in served.versions() if served else ():
        if version not in keep:
            version.retire()
