"""A version in the process, and its place among the versions of its name."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from continuous_training.serving.models.model import Model
from continuous_training.serving.models.model_status import READY, ModelStatus


class VersionUnloadedError(Exception):
    """The version was freed between finding it and using it; look again."""


@dataclass(eq=False)
class LoadedVersion:
    """Holds one version's model and work folder until it is retired and its last user is done."""

    digest: str
    archive: Path
    model: Model
    folder: Path
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
        """Keep the model from being freed while requests use it; GoneError when it is freed already."""
        with self._lock:
            if self._retired:
                raise VersionUnloadedError
            self._users += 1
        return self.model

    def __exit__(self, *_: object) -> None:
        """Use it no more; the last user of a retired one frees it."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._free()

    def count_fallback(self) -> int:
        """Count one more request that the former version answered in this one's place."""
        with self._lock:
            self.fallback_count += 1
            return self.fallback_count

    def retire(self) -> None:
        """Free the model now, or when its last user is done."""
        with self._lock:
            first, self._retired = not self._retired, True
            idle = first and not self._users
        if idle:
            self._free()

    def _free(self) -> None:
        self.model.unload()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class ServedModel:
    """What is served under one name: a version and, while that is on probation, the former one."""

    current: LoadedVersion
    previous: LoadedVersion | None = None
    trial_deadline: float | None = None
    """When the probation ends, on the monotonic clock; None when the version is confirmed."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.current.name

    @property
    def digest(self) -> str:
        """The sha256 of the archive of the current version."""
        return self.current.digest

    @property
    def model(self) -> Model:
        """The current version's model."""
        return self.current.model

    @property
    def archive(self) -> Path:
        """Where the current version was loaded from."""
        return self.current.archive

    @property
    def loaded_at(self) -> str:
        """When the current version was loaded, in UTC."""
        return self.current.loaded_at

    @property
    def phase(self) -> str:
        """`serving` when confirmed, or `probation`."""
        return "serving" if self.trial_deadline is None else "probation"

    @property
    def previous_digest(self) -> str | None:
        """The version that comes back when the current one is not confirmed."""
        return self.previous.digest if self.previous else None

    def status(self) -> ModelStatus:
        """Return the state of the model, as the management port reports it."""
        seconds_left = None
        if self.trial_deadline is not None:
            seconds_left = round(max(0.0, self.trial_deadline - time.monotonic()), 1)
        return ModelStatus(
            name=self.name,
            state=READY,
            version=self.current.version,
            digest=self.digest,
            phase=self.phase,
            previous_digest=self.previous_digest,
            trial_seconds_left=seconds_left,
            fallback_responses=self.current.fallback_count,
            loaded_at=self.loaded_at,
            archive=str(self.archive),
        )
