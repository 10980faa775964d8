"""The deployment target `local`: the background model server of a state directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core import file_lock
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import TransientError
from continuous_training.core.files import replace_durably
from continuous_training.core.progress import Progress
from continuous_training.core.temporary_files import temporary_file
from continuous_training.rollout.golden_verification import read_golden_set
from continuous_training.rollout.trial_renewal import TrialRenewal
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient

TRIAL_SECONDS = 60.0
"""The server reverts a trial that is neither confirmed nor renewed within this time."""

LOCK_TIMEOUT = 600.0
"""Seconds to wait for another rollout of the same model."""


class LocalTarget:
    """The model server of one state directory. It starts at first use."""

    def __init__(self, state: Path, progress: Progress = lambda _: None) -> None:
        self.state, self.progress = state, progress
        self.archive_folder = state / "archives"
        self.lock_folder = state / "rollouts"
        self.renewal = TrialRenewal(TRIAL_SECONDS / 4)

    @cached_property
    def endpoint(self) -> ServerClient:
        """The client of the server. The first access starts the server, if it does not run."""
        return ServerClient(daemon.start(self.state, report=self._report_port_in_use))

    def _report_port_in_use(self, line: str) -> None:
        if daemon.PORT_TAKEN in line:
            self.progress(line)

    @contextmanager
    def rollout_lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the lock file of the model; the operating system releases it when the process ends."""
        path = self.lock_folder / f"{name}.lock"
        descriptor = file_lock.acquire(path, 0)
        if descriptor is None:
            progress(f"waiting for another rollout of {name}")
            descriptor = file_lock.acquire(path, LOCK_TIMEOUT)
        if descriptor is None:
            raise TransientError(
                f"another rollout of {name} has held {path} for more than {LOCK_TIMEOUT:g} s: try again later"
            )
        try:
            yield
        finally:
            self.renewal.stop()
            os.close(descriptor)

    def served_digest(self, name: str) -> str | None:
        """Return the digest that the server reports for the model, or None."""
        return self.endpoint.served(name)

    def served_golden_requests(self, name: str) -> GoldenSet:
        """Return the golden requests in the archive that the server has loaded."""
        model = next(model for model in self.endpoint.models() if model.name == name)
        return read_golden_set(Path(str(model.archive)))

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Load the archive into the server, which verifies it, switches to it and starts the trial.

        A thread renews the trial while this process runs: the registry may take longer than the trial.
        """
        self.renewal.stop()
        stored = self._store_archive(name, archive, digest)
        self.endpoint.load(name, stored, digest, confirm_within=TRIAL_SECONDS)
        client = ServerClient(self.endpoint.running)
        self.renewal.start(lambda: client.load(name, stored, digest, confirm_within=TRIAL_SECONDS))

    def _store_archive(self, name: str, archive: Path, digest: str) -> Path:
        """Copy the archive into the state directory, from which the server loads it again after a restart."""
        stored = self._stored_path(name, digest)
        if not stored.is_file() or digest_file(stored) != digest:
            self.archive_folder.mkdir(parents=True, exist_ok=True)
            with temporary_file(stored) as temporary:
                shutil.copyfile(archive, temporary)
                replace_durably(temporary, stored)
        return stored

    def _stored_path(self, name: str, digest: str) -> Path:
        return self.archive_folder / f"{name}-{digest[:12]}.mar"

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Send the request to the server's public port."""
        return self.endpoint.predict(name, request, digest)

    def confirm(self, name: str, digest: str) -> None:
        """End the trial, and delete the archives of the model's other versions."""
        self.renewal.stop()
        self.endpoint.confirm(name, digest)
        for path in self.archive_folder.glob(f"{name}-*.mar"):
            if path != self._stored_path(name, digest):
                path.unlink(missing_ok=True)

    def revert(self, name: str, digest: str) -> None:
        """Let the server go back to the version that it served before the trial."""
        self.renewal.stop()
        self.endpoint.revert(name, digest)

    def verify_complete(self, name: str, digest: str) -> None:
        """Do nothing: the endpoint is the only server, and its responses are verified."""

    def url(self, name: str) -> str:
        """Return the address of the model on the server's public port."""
        return f"{self.endpoint.running.url}/predict/{name}"
