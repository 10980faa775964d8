"""Sends the response of an endpoint, or the response for its error, with a request id."""

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
from continuous_training.serving.http.cors import CorsPolicy
from continuous_training.serving.http.errors import RETRY_AFTER, ClientDisconnected, HttpError
from continuous_training.serving.http.requests import Request, Scope, Send
from continuous_training.serving.json_codec import encode

log = logging.getLogger(__name__)
access_log = logging.getLogger("serving.access")

STATUS_DISCONNECTED = 499
"""The status that metrics report for a client that closed its connection; such a request has no response."""

_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
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
"""The status of each type of error, and its kind in the metrics. The first type that matches is used."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_process_id = secrets.token_hex(6)
_numbers = itertools.count(1)

ResponseObserver = Callable[[Request, int, str, float], None]
"""Called after each response with the request, the status, the kind of error ("": none) and the seconds."""


async def respond(
    request: Request,
    send: Send,
    handle: Callable[[Request], Awaitable[Response]],
    observe: ResponseObserver | None = None,
    log_access: bool = False,
    cors: CorsPolicy | None = None,
) -> None:
    """Send the response of `handle`, or the error response if it raises an exception."""
    start = time.perf_counter()
    request_id = request_id_of(request)
    error_kind = ""
    try:
        try:
            response = await handle(request)
        except ClientDisconnected:
            if observe:
                observe(request, STATUS_DISCONNECTED, "disconnected", time.perf_counter() - start)
            return
        except Exception as error:
            response, error_kind = error_response(error, request, request_id)
        if cors is not None:
            response = cors.apply(request, response)
        await send_response(request.scope, send, response, request_id)
    finally:
        request.release()
    seconds = time.perf_counter() - start
    if observe:
        observe(request, response.status, error_kind, seconds)
    if log_access:
        _log_access(request, response, request_id, seconds)


async def send_response(scope: Scope, send: Send, response: Response, request_id: str) -> None:
    """Send a response. The response to a HEAD request has no body."""
    headers = [(b"content-length", b"%d" % len(response.body)), (b"x-request-id", request_id.encode())]
    if "content-type" not in response.headers:
        headers.append((b"content-type", b"application/json"))
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})


def request_id_of(request: Request) -> str:
    """Return the header x-request-id of a request if it is valid, else a new id."""
    header = request.header(b"x-request-id")
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header
    return f"{_process_id}-{next(_numbers):x}"


def error_response(error: Exception, request: Request, request_id: str) -> tuple[Response, str]:
    """Return the response for an error, and the kind of error for the metrics.

    An error of an unexpected type is a defect: it is logged under the request id, and the response has the
    status 500.
    """
    if isinstance(error, HttpError):
        response = Response(encode({"error": _message(error)}), error.status, error.headers)
        return response, f"http_{error.status}"
    for error_type, status, kind in _ERRORS:
        if isinstance(error, error_type):
            reasons = {"reasons": error.reasons} if isinstance(error, VersionRejectedError) else {}
            body = encode({"error": _message(error), **reasons})
            return Response(body, status, dict(RETRY_AFTER) if status == 503 else {}), kind
    method, path = request.scope["method"], request.scope["path"]
    extra = {"request_id": request_id, "model": request.model}
    log.error("%s %s failed: %s", method, path, error, exc_info=error, extra=extra)
    in_handler = isinstance(error, HandlerError)
    cause = str(error) if in_handler else "the server failed to process this request"
    message = f"{cause}; the server's log has the details under the request id {request_id}"
    body = encode({"error": message, "request_id": request_id})
    return Response(body, 500), "handler" if in_handler else "server"


def _message(error: Exception) -> str:
    # A message can contain text of the client with unpaired surrogates, which UTF-8 cannot encode.
    return str(error).encode("utf-8", "replace").decode()


def _log_access(request: Request, response: Response, request_id: str, seconds: float) -> None:
    scope = request.scope
    extra = {
        "request_id": request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": response.status,
        "ms": round(seconds * 1000, 3),
        "model": request.model,
        "version": response.headers.get("x-model-version", ""),
        "client": (scope.get("client") or ("",))[0],
    }
    access_log.info("request", extra=extra)
