"""The little of HTTP that both applications need: a body within limits, JSON out, errors in words."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from .errors import HandlerError, LoadRefused, NotServedError, RequestError, UnavailableError
from .jsontext import encode

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 8 * 1024**2
"""The most bytes of a request's body, unless the server is told otherwise."""

_DISCARD = 8
"""How many times the limit is read and thrown away, so that the caller gets to see the refusal."""


class HttpError(Exception):
    """An answer other than 200, with its words."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class DisconnectedError(Exception):
    """The caller hung up before the request was complete."""


@dataclass(frozen=True)
class Reply:
    """A response: JSON bytes with a status and headers."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a request's body; HttpError 413 when it is larger than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body", False) or size > limit * _DISCARD:
            break
    if size > limit:
        raise HttpError(
            413, f"the body is larger than {limit} bytes; send less at a time", {"connection": "close"}
        )
    return b"".join(chunks)


async def respond(scope: Scope, send: Send, handle: Callable[[], Awaitable[Reply]]) -> None:
    """Send what `handle` replies, or its error as JSON; a defect is logged under an id that is sent too."""
    try:
        reply = await handle()
    except DisconnectedError:
        return
    except Exception as error:
        reply = _error_reply(error, scope)
    body = b"" if scope["method"] == "HEAD" else reply.body
    headers = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
    start = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """Reply with a value as JSON."""
    return Reply(encode(value), status, headers)


def _error_reply(error: Exception, scope: Scope) -> Reply:
    if isinstance(error, HttpError):
        return Reply(_words(str(error)), error.status, error.headers)
    if isinstance(error, LoadRefused):
        return json_reply({"error": str(error), "reasons": error.reasons}, 409)
    for kind, status in ((NotServedError, 404), (UnavailableError, 503), (RequestError, 400)):
        if isinstance(error, kind):
            return Reply(_words(str(error)), status)
    request_id = uuid.uuid4().hex
    log.error("request %s: %s %s: %s", request_id, scope["method"], scope["path"], error, exc_info=error)
    what = str(error) if isinstance(error, HandlerError) else "the server failed on this request"
    words = f"{what}; the server's log has more under {request_id}"
    return json_reply({"error": words, "request_id": request_id}, 500, **{"x-request-id": request_id})


def _words(message: str) -> bytes:
    # A message may quote what a caller sent, down to halves of surrogate pairs.
    return encode({"error": message.encode("utf-8", "replace").decode()})
