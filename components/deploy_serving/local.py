"""The target on one machine: the model server of a state folder, started when it is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving import archive, daemon
from serving.client import Endpoint

TRIAL_SECONDS = 60.0


class LocalTarget:
    """The background server of one state folder."""

    def __init__(self, state: Path) -> None:
        self.running = daemon.start(state)
        self.endpoint = Endpoint(self.running)

    def served(self, name: str) -> str | None:
        """Return the digest of the version that answers for `name`, or None when none does."""
        return self.endpoint.served(name)

    def golden_of_served(self, name: str) -> list[dict[str, Any]]:
        """Return the golden requests in the served archive."""
        served = next(model for model in self.endpoint.models() if model["name"] == name)
        return list(archive.read_manifest(Path(served["archive"]))["golden"])

    def begin_trial(self, name: str, archive: Path, digest: str) -> None:
        """Load the archive into the running server; it reverts by itself after a minute."""
        self.endpoint.load(name, archive, digest, confirm_within=TRIAL_SECONDS)

    def predict(self, name: str, request: Any, digest: str) -> Any:
        """Ask the public endpoint over HTTP."""
        return self.endpoint.predict(name, request, digest)

    def confirm(self, name: str, digest: str) -> None:
        """Keep the version on trial."""
        self.endpoint.confirm(name, digest)

    def withdraw(self, name: str, digest: str) -> None:
        """Put the former version back."""
        self.endpoint.revert(name, digest)

    def url(self, name: str) -> str:
        """Return the address that callers use."""
        return f"{self.running.url}/predict/{name}"
