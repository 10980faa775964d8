"""From a request to its reply, whatever happens: errors in words, and a request id on every answer."""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from continuous_training.core.errors import TransientError
from continuous_training.serving.api.endpoint import Response
from continuous_training.serving.errors import (
    HandlerError,
    InvalidQueryError,
    ModelNotFoundError,
    ModelNotReadyError,
    OverloadedError,
    PathNotFoundError,
    RequestError,
    UnsupportedMediaTypeError,
    VersionRejectedError,
)
from continuous_training.serving.http.requests import (
    RETRY,
    DisconnectedError,
    HttpError,
    Request,
    Send,
    send_reply,
)
from continuous_training.serving.json_codec import encode

log = logging.getLogger(__name__)
access = logging.getLogger("serving.access")

_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (VersionRejectedError, 409, "refused"),
    (ModelNotFoundError, 404, "not_served"),
    (ModelNotReadyError, 503, "unavailable"),
    (OverloadedError, 503, "busy"),
    (TransientError, 503, "transient"),
    (PathNotFoundError, 404, "http_404"),
    (UnsupportedMediaTypeError, 415, "http_415"),
    (InvalidQueryError, 400, "http_400"),
    (RequestError, 400, "request"),
)
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_process = secrets.token_hex(6)
_numbers = itertools.count(1)

Observe = Callable[[Request, int, str, float], None]
"""Hears of every answer: the request, its status, the kind of its error (empty: none), and its seconds."""


async def respond(
    request: Request,
    send: Send,
    handle: Callable[[Request], Awaitable[Response]],
    observe: Observe | None = None,
    log_access: bool = False,
) -> None:
    """Send what `handle` replies, or its error as JSON; a defect is logged under the request's id."""
    began = time.perf_counter()
    request_id = request_id_of(request)
    kind = ""
    try:
        try:
            reply = await handle(request)
        except DisconnectedError:
            if observe:
                observe(request, 499, "disconnected", time.perf_counter() - began)
            return
        except Exception as error:
            reply, kind = error_reply(error, request, request_id)
        await send_reply(request.scope, send, reply, request_id)
    finally:
        request.release()
    seconds = time.perf_counter() - began
    if observe:
        observe(request, reply.status, kind, seconds)
    if log_access:
        _log_access(request, reply, request_id, seconds)


def request_id_of(request: Request) -> str:
    """Return the caller's own id of the request when it is one, or a new one."""
    given = request.header(b"x-request-id")
    if given is not None and _ID.fullmatch(given):
        return given
    return f"{_process}-{next(_numbers):x}"


def error_reply(error: Exception, request: Request, request_id: str) -> tuple[Response, str]:
    """Put an error in words for the caller, and name its kind for the metrics; a defect is logged."""
    if isinstance(error, HttpError):
        reply = Response(encode({"error": _text(error)}), error.status, error.headers)
        return reply, f"http_{error.status}"
    for kind, status, name in _STATUS:
        if isinstance(error, kind):
            more = {"reasons": error.reasons} if isinstance(error, VersionRejectedError) else {}
            content = {"error": _text(error), **more}
            return Response(encode(content), status, dict(RETRY) if status == 503 else {}), name
    method, path = request.scope["method"], request.scope["path"]
    extra = {"request_id": request_id, "model": request.model}
    log.error("%s %s failed: %s", method, path, error, exc_info=error, extra=extra)
    known = isinstance(error, HandlerError)
    what = str(error) if known else "the server failed on this request"
    words = f"{what}; the server's log has more under {request_id}"
    body = encode({"error": words, "request_id": request_id})
    return Response(body, 500), "handler" if known else "server"


def _text(error: Exception) -> str:
    # A message may quote what a caller sent, down to halves of surrogate pairs.
    return str(error).encode("utf-8", "replace").decode()


def _log_access(request: Request, reply: Response, request_id: str, seconds: float) -> None:
    scope = request.scope
    extra = {
        "request_id": request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": reply.status,
        "ms": round(seconds * 1000, 3),
        "model": request.model,
        "version": reply.headers.get("x-model-version", ""),
        "client": (scope.get("client") or ("",))[0],
    }
    access.info("request", extra=extra)
