"""The REST API of an MLflow server: authentication, retries and errors.

The paths and fields are documented in https://mlflow.org/docs/latest/rest-api.html. Steps do not import
mlflow: the import takes one to two seconds in each process, and the package half a gigabyte in each image.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import requests

from continuous_training.adapters.wrong_server import server_name, wrong_server
from continuous_training.core.disk_space import disk_full_message, reports_full_disk
from continuous_training.core.errors import DiskFullError, TransientError, UserError
from continuous_training.core.json_object import Json

_ATTEMPTS = 4
_TIMEOUT = (5, 60)
_RACE_ERRORS = ("IntegrityError", "UniqueViolation")
"""What MLflow reports when another client created the same row. The next attempt finds that row."""


class MlflowServer:
    """One MLflow server. `uri` is its address, with either user and password or a token."""

    def __init__(self, uri: str, user: str = "", password: str = "", token: str = "") -> None:
        if not uri.startswith(("http://", "https://")):
            raise UserError(f"registry {uri!r}: give http(s)://HOST, or a local database by --state")
        self.uri = uri.rstrip("/")
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        elif user:
            self.session.auth = (user, password)

    def get(self, path: str, params: Mapping[str, str]) -> Json | None:
        """Return the response to a GET request, or None for a resource that does not exist."""
        return self.send("GET", f"mlflow/{path}", params=params, allowed="RESOURCE_DOES_NOT_EXIST")

    def post(self, path: str, payload: Mapping[str, object], allowed: str = "") -> Json:
        """Return the response to a POST request, or an empty object for the error code `allowed`."""
        return self.send("POST", f"mlflow/{path}", json=payload, allowed=allowed) or {}

    def send(self, method: str, path: str, allowed: str = "", **options: Any) -> Json | None:
        """Return the response, or None for the error code `allowed`. Transient errors are retried.

        Raises UserError for a refused request, and TransientError when all attempts fail.
        """
        url = f"{self.uri}/api/2.0/{path}"
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(0.5 * 2 ** (attempt - 1))
            try:
                response = self.session.request(method, url, timeout=_TIMEOUT, **options)
            except requests.RequestException as error:
                problem = f"cannot be reached ({type(error).__name__}: {error})"
                continue
            if response.ok:
                return self._decode(response)
            code, message = _error_of(response)
            if allowed and code == allowed:
                return None
            # With a database backend, MLflow answers INVALID_PARAMETER_VALUE for an alias that was never set.
            if allowed == "RESOURCE_DOES_NOT_EXIST" and "alias" in message and "not found" in message.lower():
                return None
            if response.status_code in {401, 403}:
                raise UserError(
                    f"registry {self.uri} refuses the credentials "
                    f"({response.status_code}{server_name(response)}); check "
                    "MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN"
                )
            if reports_full_disk(message):
                raise DiskFullError(disk_full_message(f"the disk of the registry {self.uri}"))
            is_race = any(name in message for name in _RACE_ERRORS)
            if response.status_code in {404, 405} and not code:
                raise wrong_server("MLflow", self.uri, response)
            if response.status_code < 500 and response.status_code != 429 and not is_race:
                raise UserError(f"registry {self.uri}, {path}: {code or response.status_code}: {message}")
            problem = f"answers {response.status_code} ({message[:300]})"
        raise TransientError(
            f"registry {self.uri} {problem}, {_ATTEMPTS} times; check that it is running, then try again"
        )

    def _decode(self, response: requests.Response) -> Json:
        try:
            # Not response.json(): MLflow declares no encoding for an artifact, and the default is not UTF-8.
            body = json.loads(response.content) if response.content else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise wrong_server("MLflow", self.uri, response)
        return body


def _error_of(response: requests.Response) -> tuple[str, str]:
    """Return MLflow's error code and message, or an empty code and the text of the response."""
    try:
        body = response.json()
    except ValueError:
        return "", response.text[:300]
    if not isinstance(body, dict):
        return "", response.text[:300]
    return str(body.get("error_code", "")), str(body.get("message", ""))
