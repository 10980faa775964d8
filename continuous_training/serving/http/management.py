"""The private application: what a deployer asks of the server, behind a token, on a port of its own."""

from __future__ import annotations

import asyncio
import math
import re
from hmac import compare_digest
from pathlib import Path
from typing import Any

from continuous_training.core.errors import UserError
from continuous_training.serving.api.endpoint import Response, json_response
from continuous_training.serving.errors import ArchiveError, RequestError, VersionRejectedError
from continuous_training.serving.http.requests import (
    Held,
    HttpError,
    Receive,
    Request,
    Scope,
    Send,
)
from continuous_training.serving.http.responses import respond
from continuous_training.serving.json_codec import decode
from continuous_training.serving.models.archive_sources import ArchiveSource
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.models.versions import ServedModel

_MAX_BODY = 64 * 1024
_MAX_HELD = 256 * _MAX_BODY
_SECONDS = 10.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Management:
    """Loads, confirms, reverts and unloads models for whoever has the token.

    A load that names no archive takes what `source` has for the name now, or what was confirmed last.
    """

    def __init__(self, repository: ModelRepository, token: str, source: ArchiveSource | None = None) -> None:
        self.repository = repository
        self.source = source
        self.expected = f"Bearer {token}".encode()
        self.held = Held(_MAX_HELD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "http":
            request = Request(scope, receive, _MAX_BODY, _SECONDS, self.held)
            await respond(request, send, self._route)

    async def _route(self, request: Request) -> Response:
        scope = request.scope
        given = (request.header(b"authorization") or "").encode("latin-1")
        body = await request.body()
        if not compare_digest(given, self.expected):
            raise HttpError(
                401, "the header Authorization: Bearer TOKEN is missing or wrong; server.json has it"
            )
        match [part for part in scope["path"].split("/") if part]:
            case ["v2", "repository", "index"]:
                verb, name = "index", ""
            case ["v2", "repository", "models", name, ("load" | "unload" | "confirm" | "revert") as verb]:
                pass
            case _:
                raise HttpError(404, f"there is nothing at {scope['path']}")
        if scope["method"] != "POST":
            raise HttpError(405, f"{scope['path']} takes POST, not {scope['method']}", {"allow": "POST"})
        # In a thread: unpacking and proving a model takes long, and requests are answered meanwhile.
        asked = _asked(body)
        if verb == "index":
            return json_response(_index(self.repository, only_ready=asked.get("ready") is True))
        return json_response(await asyncio.to_thread(self._do, verb, name, asked["parameters"]))

    def _do(self, verb: str, name: str, parameters: dict[str, Any]) -> Any:
        repository = self.repository
        if verb == "load":
            return self._load(name, parameters)
        if verb == "unload":
            repository.unload(name)
            return {"name": name}
        act = repository.confirm if verb == "confirm" else repository.revert
        return _status(act(name, _digest(parameters)), name)

    def _load(self, name: str, parameters: dict[str, Any]) -> Any:
        archive, within = parameters.get("archive"), parameters.get("confirm_within")
        if within is not None and not _is_time(within):
            raise RequestError('"confirm_within" must be a number of seconds above 0, or null')
        try:
            if archive is None:
                path, digest = self._known(name)
            else:
                path, digest = _path(archive), _digest(parameters)
            served = self.repository.load(path, digest, within, name)
        except ArchiveError as error:
            raise VersionRejectedError(str(error)) from error
        return _status(served, name)

    def _known(self, name: str) -> tuple[Path, str]:
        if self.source is not None and name in self.source.names:
            try:
                return self.source.fetch(name)
            except UserError as error:
                raise VersionRejectedError(str(error)) from error
        record = self.repository.persisted.records.get(name)
        if record is None:
            raise RequestError(
                f"nothing is known of {name!r}: say which with the parameters archive and digest"
            )
        return Path(record["archive"]), record["digest"]


def _asked(body: bytes) -> dict[str, Any]:
    given = decode(body) if body else {}
    if not isinstance(given, dict) or not isinstance(given.setdefault("parameters", {}), dict):
        raise RequestError('the body must be {"parameters": {...}}')
    return given


def _path(archive: Any) -> Path:
    if not isinstance(archive, str) or "\0" in archive or not Path(archive).is_absolute():
        raise RequestError('"archive" must be the absolute path of a .mar file')
    return Path(archive)


def _digest(parameters: dict[str, Any]) -> str:
    digest = parameters.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise RequestError('"digest" must be the sha256 of the archive, in 64 hexadecimal digits')
    return digest


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def _status(served: ServedModel | None, name: str) -> dict[str, Any]:
    return {"name": name, "digest": None} if served is None else served.status()


def _index(repository: ModelRepository, only_ready: bool) -> list[dict[str, Any]]:
    """List the models as the protocol's repository index does; `only_ready` leaves out those that are not."""
    served = repository.served_models()
    rows = [{"state": "READY", "reason": "", **served[name].status()} for name in sorted(served)]
    for name, reason in sorted(dict(repository.unavailable).items()):
        if name not in served and not only_ready:
            rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason})
    return rows
