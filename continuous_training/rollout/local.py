"""The target on one machine: the model server of a state folder, started when it is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from components.step_cli import tell
from continuous_training.artifacts import archive
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core import file_lock
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import TransientError
from continuous_training.core.progress import Progress
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.daemon import PORT_TAKEN
from continuous_training.serving.process.server_state import RunningServer

TRIAL_SECONDS = 60.0
_PATIENCE = 600.0


class LocalTarget:
    """The background server of one state folder."""

    def __init__(self, state: Path) -> None:
        self.archives = state / "archives"
        self.locks = state / "rollouts"
        self.state = state

    @cached_property
    def running(self) -> RunningServer:
        """The server, started at the first need: a step that fails on its input leaves none behind."""
        return daemon.start(self.state, report=lambda line: tell(line) if PORT_TAKEN in line else None)

    @cached_property
    def endpoint(self) -> ServerClient:
        """The server's client."""
        return ServerClient(self.running)

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of this endpoint and model, which the system frees when the process dies."""
        path = self.locks / f"{name}.lock"
        handle = file_lock.acquire(path, 0)
        if handle is None:
            progress(f"waiting for another rollout of {name}")
            handle = file_lock.acquire(path, _PATIENCE)
        if handle is None:
            raise TransientError(
                f"another rollout of {name} has not ended for {_PATIENCE:g} s (it holds {path}); try later"
            )
        try:
            yield
        finally:
            os.close(handle)

    def served_digest(self, name: str) -> str | None:
        """Return the digest of the version that answers for `name`, or None when none does."""
        return self.endpoint.served(name)

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests in the served archive."""
        served = next(model for model in self.endpoint.models() if model.name == name)
        return archive.read_manifest(Path(str(served.archive))).golden

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Load the archive into the running server; it reverts by itself after a minute."""
        self.endpoint.load(name, self._keep(name, archive, digest), digest, confirm_within=TRIAL_SECONDS)

    def _keep(self, name: str, archive: Path, digest: str) -> Path:
        """Return a copy of the archive that stays: the server reads it again when it is started again."""
        kept = self.archives / f"{name}-{digest[:12]}.mar"
        if not kept.is_file() or digest_file(kept) != digest:
            self.archives.mkdir(parents=True, exist_ok=True)
            beside = kept.with_name(f".{kept.name}-{os.getpid()}")
            shutil.copyfile(archive, beside)
            beside.replace(kept)
        return kept

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Ask the public endpoint over HTTP."""
        return self.endpoint.predict(name, request, digest)

    def confirm(self, name: str, digest: str) -> None:
        """Keep the version on trial."""
        self.endpoint.confirm(name, digest)
        for kept in self.archives.glob(f"{name}-*.mar"):
            if kept.name != f"{name}-{digest[:12]}.mar":
                kept.unlink(missing_ok=True)

    def revert(self, name: str, digest: str) -> None:
        """Put the former version back."""
        self.endpoint.revert(name, digest)

    def url(self, name: str) -> str:
        """Return the address that callers use."""
        return f"{self.running.url}/predict/{name}"
