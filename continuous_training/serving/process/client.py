"""A client of a running server, for its public port and its management port."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from continuous_training.core.errors import DiskFullError, PipelineError, TransientError, UserError
from continuous_training.core.json_object import Json
from continuous_training.serving.errors import VersionMismatchError, VersionRejectedError
from continuous_training.serving.models.model_status import ModelStatus
from continuous_training.serving.process.state_files import RunningServer, status_command

CONNECT_SECONDS = 5.0
RESPONSE_SECONDS = 60.0
LOAD_SECONDS = 300.0


class ServerClient:
    """Loads and confirms versions through the management port, and sends requests to the public port.

    All methods raise TransientError if the server does not answer.
    """

    def __init__(self, running: RunningServer) -> None:
        self.running = running
        self.session = requests.Session()
        # Proxies of the environment are not for connections within this machine.
        self.session.trust_env = False

    def models(self) -> list[ModelStatus]:
        """Return the models that are served, and those that should be served."""
        return [ModelStatus.from_json(entry) for entry in self._manage("index")]

    def served(self, name: str) -> str | None:
        """Return the digest of the version that is served under a name, on trial or confirmed, or None."""
        return next((model.digest for model in self.models() if model.name == name), None)

    def load(self, name: str, archive: Path, digest: str, confirm_within: float | None = None) -> ModelStatus:
        """Serve a version. With `confirm_within` seconds, it is on trial and must be confirmed in that time.

        Returns the state of the model. Raises VersionRejectedError if the server does not accept the version.
        """
        parameters = {"archive": str(archive.absolute()), "digest": digest, "confirm_within": confirm_within}
        return self._change(name, "load", parameters)

    def confirm(self, name: str, digest: str) -> ModelStatus:
        """Keep the version on trial. Raises VersionRejectedError if it is not served any more."""
        return self._change(name, "confirm", {"digest": digest})

    def revert(self, name: str, digest: str) -> ModelStatus | None:
        """Replace the version on trial by the previous version.

        Returns the state of the model, or None if there is no previous version.
        """
        status = self._change(name, "revert", {"digest": digest})
        return None if status.digest is None else status

    def unload(self, name: str) -> None:
        """Stop serving a model."""
        self._manage(f"models/{quote(name, safe='')}/unload")

    def predict(self, name: str, request: Any, digest: str | None = None) -> Any:
        """Send a request to the public port and return the response.

        Raises UserError if the server rejects the request, VersionMismatchError if another version than
        `digest` answered, and PipelineError if the server failed.
        """
        url = f"{self.running.url}/predict/{quote(name, safe='')}"
        response = self._send(url, request, {}, RESPONSE_SECONDS)
        if response.status_code != 200:
            raise _error(response, f"{url} rejected the request")
        actual_digest = response.headers.get("x-model-digest", "")
        if digest is not None and actual_digest != digest:
            raise VersionMismatchError(
                f"{name}: version {digest[:12]} was requested, but version {actual_digest[:12]} answered"
            )
        return response.json()

    def _change(self, name: str, action: str, parameters: Json) -> ModelStatus:
        return ModelStatus.from_json(self._manage(f"models/{quote(name, safe='')}/{action}", parameters))

    def _manage(self, path: str, parameters: Json | None = None) -> Any:
        url = f"{self.running.management_url}/v2/repository/{path}"
        headers = {"authorization": f"Bearer {self.running.token}"}
        response = self._send(url, {"parameters": parameters or {}}, headers, LOAD_SECONDS)
        if response.status_code != 200:
            raise _error(response, f"the server rejected {path}")
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
            folder = self.running.folder
            hint = f". To see its state:\n{status_command(folder.parent)}" if folder else ""
            raise TransientError(f"the server at {url} does not answer: {error}{hint}") from error


def _error(response: requests.Response, default_message: str) -> PipelineError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    message = body.get("error") or f"{default_message}: HTTP {response.status_code}"
    if response.status_code == 409:
        return VersionRejectedError(message, body.get("reasons"))
    if response.status_code == 507:
        return DiskFullError(message)
    if response.status_code == 503:
        return TransientError(message)
    if response.status_code < 500:
        return UserError(message)
    return PipelineError(message)
