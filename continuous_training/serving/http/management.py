"""The management application: loads, confirms, reverts and unloads models, on a private port with a token."""

from __future__ import annotations

import asyncio
import math
import re
from hmac import compare_digest
from pathlib import Path
from typing import Any

from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.disk_space import disk_full_message, is_disk_full
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.serving.api.endpoint import Response, json_response
from continuous_training.serving.errors import RequestError, VersionRejectedError
from continuous_training.serving.http.errors import HttpError
from continuous_training.serving.http.head_checks import check_head
from continuous_training.serving.http.requests import (
    InFlightBytes,
    Receive,
    Request,
    RequestLimits,
    Scope,
    Send,
)
from continuous_training.serving.http.responses import respond
from continuous_training.serving.json_codec import decode
from continuous_training.serving.models.archive_sources import ArchiveSource
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.models.model_status import UNAVAILABLE, ModelStatus
from continuous_training.serving.models.versions import ServedModel

_LIMITS = RequestLimits(max_body=64 * 1024, timeout=10.0)
_MAX_IN_FLIGHT = 256 * _LIMITS.max_body
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ManagementApp:
    """An ASGI application that changes the served models for clients that send the token.

    A load request without an archive loads the current archive of `source`, or the version that was confirmed
    last.
    """

    def __init__(self, repository: ModelRepository, token: str, source: ArchiveSource | None = None) -> None:
        self.repository = repository
        self.source = source
        self.authorization = f"Bearer {token}".encode()
        self.in_flight = InFlightBytes(_MAX_IN_FLIGHT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] == "http":
            request = Request(scope, receive, _LIMITS, self.in_flight)
            await respond(request, send, self._handle)

    async def _handle(self, request: Request) -> Response:
        check_head(request)
        authorization = (request.header(b"authorization") or "").encode("latin-1")
        body = await request.body()
        if not compare_digest(authorization, self.authorization):
            raise HttpError(
                401,
                "the header Authorization: Bearer TOKEN is missing or wrong; server.json contains the token",
            )
        action, name = _action(request.scope["method"], request.scope["path"])
        content = _content(body)
        if action == "index":
            return json_response(_index(self.repository, ready_only=content.get("ready") is True))
        # Loading a model takes seconds. In a thread, it does not block other management requests.
        return json_response(await asyncio.to_thread(self._run, action, name, content["parameters"]))

    def _run(self, action: str, name: str, parameters: Json) -> Any:
        try:
            return self._execute(action, name, parameters)
        except OSError as error:
            if is_disk_full(error):
                # The archive is unpacked into this folder, and the list of models is written next to it.
                folder = error.filename or self.repository.work_folder
                raise HttpError(507, disk_full_message(folder)) from error
            raise

    def _execute(self, action: str, name: str, parameters: Json) -> Any:
        if action == "load":
            return self._load(name, parameters)
        if action == "unload":
            self.repository.unload(name)
            return {"name": name}
        change = self.repository.confirm if action == "confirm" else self.repository.revert
        return _change_response(name, change(name, _digest(parameters)))

    def _load(self, name: str, parameters: Json) -> Any:
        archive, trial_seconds = parameters.get("archive"), parameters.get("confirm_within")
        if trial_seconds is not None and not _is_duration(trial_seconds):
            raise RequestError('"confirm_within" must be a number of seconds above 0, or null')
        try:
            if archive is None:
                path, digest = self._current_archive(name)
            else:
                path, digest = _path(archive), _digest(parameters)
            served = self.repository.load(path, digest, trial_seconds, name)
        except ArchiveError as error:
            raise VersionRejectedError(str(error)) from error
        return _change_response(name, served)

    def _current_archive(self, name: str) -> tuple[Path, str]:
        if self.source is not None and name in self.source.names:
            try:
                return self.source.fetch(name)
            except UserError as error:
                raise VersionRejectedError(str(error)) from error
        version = self.repository.persisted.versions.get(name)
        if version is None:
            raise RequestError(
                f'no archive of {name!r} is known; send the parameters "archive" and "digest" of the version'
            )
        return version.archive, version.digest


def _action(method: str, path: str) -> tuple[str, str]:
    """Return the action and the model's name of a path. Raises HttpError 404 or 405."""
    match [segment for segment in path.split("/") if segment]:
        case ["v2", "repository", "index"]:
            action, name = "index", ""
        case ["v2", "repository", "models", name, ("load" | "unload" | "confirm" | "revert") as action]:
            pass
        case _:
            raise HttpError(404, f"there is nothing at {path}")
    if method != "POST":
        raise HttpError(405, f"{path} accepts POST, not {method}", {"allow": "POST"})
    return action, name


def _content(body: bytes) -> Json:
    content = decode(body) if body else {}
    if isinstance(content, dict) and content.get("parameters") is None:
        content["parameters"] = {}
    if not isinstance(content, dict) or not isinstance(content["parameters"], dict):
        raise RequestError('the body must be {"parameters": {...}}')
    return content


def _path(archive: Any) -> Path:
    if not isinstance(archive, str) or "\0" in archive or not Path(archive).is_absolute():
        raise RequestError('"archive" must be the absolute path of a .mar file')
    return Path(archive)


def _digest(parameters: Json) -> str:
    digest = parameters.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise RequestError('"digest" must be the sha256 of the archive, in 64 hexadecimal digits')
    return digest


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def _change_response(name: str, served: ServedModel | None) -> Json:
    return {"name": name, "digest": None} if served is None else served.status().change_to_json()


def _index(repository: ModelRepository, ready_only: bool) -> list[Json]:
    """Return the repository index of the Open Inference Protocol, or only its models that are ready."""
    served = repository.served_models()
    models = [served[name].status() for name in sorted(served)]
    if not ready_only:
        unavailable = sorted(dict(repository.unavailable).items())
        models += [
            ModelStatus(name, UNAVAILABLE, reason) for name, reason in unavailable if name not in served
        ]
    return [model.to_json() for model in models]
