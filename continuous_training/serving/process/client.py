"""What a deployer asks of a running server, over its two ports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.serving.errors import VersionMismatchError, VersionRejectedError
from continuous_training.serving.process.server_state import RunningServer

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
LOAD_SECONDS = 300.0


class ServerClient:
    """One server, seen from outside: loads and confirms versions privately, predicts publicly.

    TransientError when the server is not there; VersionRejectedError when it will not have a version.
    """

    def __init__(self, running: RunningServer) -> None:
        self.running = running
        self.session = requests.Session()
        # A proxy of the environment has no business between two processes of one machine.
        self.session.trust_env = False

    def models(self) -> list[dict[str, Any]]:
        """List what is served, and what should be: name, version, digest, phase, shielded, former..."""
        return self._manage("index")

    def served(self, name: str) -> str | None:
        """Tell the digest that is served under a name, on probation or not; None when there is none."""
        return next((row.get("digest") for row in self.models() if row["name"] == name), None)

    def load(
        self, name: str, archive: Path, digest: str, confirm_within: float | None = None
    ) -> dict[str, Any]:
        """Have a version served, on probation for that many seconds when given; returns its status."""
        parameters = {"archive": str(archive.absolute()), "digest": digest, "confirm_within": confirm_within}
        return self._manage(f"models/{quote(name, safe='')}/load", parameters)

    def confirm(self, name: str, digest: str) -> dict[str, Any]:
        """Keep a version for good; VersionRejectedError when it is not served any more."""
        return self._manage(f"models/{quote(name, safe='')}/confirm", {"digest": digest})

    def revert(self, name: str, digest: str) -> dict[str, Any]:
        """Put the former version back; returns the status of what is served then (digest None: nothing)."""
        return self._manage(f"models/{quote(name, safe='')}/revert", {"digest": digest})

    def unload(self, name: str) -> None:
        """Have a name served no longer."""
        self._manage(f"models/{quote(name, safe='')}/unload")

    def predict(self, name: str, request: Any, digest: str | None = None) -> Any:
        """Ask the public endpoint, as any caller does; with `digest`, that very version must answer.

        UserError when the request is refused, VersionMismatchError when another version answered,
        PipelineError when the server failed.
        """
        url = f"{self.running.url}/predict/{quote(name, safe='')}"
        response = self._send(url, request, {}, ANSWER_SECONDS)
        if response.status_code != 200:
            raise _error(response, f"{url} refused the request")
        answered = response.headers.get("x-model-digest", "")
        if digest is not None and answered != digest:
            raise VersionMismatchError(
                f"{name}: version {answered[:12]} answered, and {digest[:12]} was asked for"
            )
        return response.json()

    def _manage(self, path: str, parameters: dict[str, Any] | None = None) -> Any:
        url = f"{self.running.management_url}/v2/repository/{path}"
        headers = {"authorization": f"Bearer {self.running.token}"}
        response = self._send(url, {"parameters": parameters or {}}, headers, LOAD_SECONDS)
        if response.status_code != 200:
            raise _error(response, f"the server refused {path}")
        return response.json()

    def _send(self, url: str, body: Any, headers: dict[str, str], seconds: float) -> requests.Response:
        try:
            data = json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise UserError(f"the request cannot be written as JSON: {error}") from error
        try:
            return self.session.post(
                url,
                data=data,
                headers={"content-type": "application/json", **headers},
                timeout=(CONNECT_SECONDS, seconds),
            )
        except requests.exceptions.RequestException as error:
            raise TransientError(
                f"the server at {url} does not answer: {error}. See: python -m serving status"
            ) from error


def _error(response: requests.Response, what: str) -> PipelineError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    message = body.get("error") or f"{what}: HTTP {response.status_code}"
    if response.status_code == 409:
        return VersionRejectedError(message, body.get("reasons"))
    if response.status_code == 503:
        return TransientError(message)
    if response.status_code < 500:
        return UserError(message)
    return PipelineError(message)
