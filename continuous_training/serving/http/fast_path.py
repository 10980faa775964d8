"""Answers to requests that arrived whole, which most do, without a task of the event loop for each.

Every other request goes to the application over ASGI: one that arrives in parts, waits behind another one on
its connection, or holds pictures. What a caller gets is the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from continuous_training.serving.api.endpoint import Parse, Response
from continuous_training.serving.api.predict_endpoints import prediction_response
from continuous_training.serving.http.requests import Held, HttpError, Request, check_encoding
from continuous_training.serving.http.responses import Observe, error_reply, request_id_of
from continuous_training.serving.http.routing import Router
from continuous_training.serving.models.batcher import Batcher, QueuedRequest
from continuous_training.serving.models.inference_request import InferenceRequest, InferenceResponse

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
Target = tuple[Parse, str, dict[str, str]]
"""What reads the request, its path, and what the path's placeholders stand for."""


class Line(Protocol):
    """A connection that a reply can be written to."""

    def write_reply(self, call: Call, reply: Response, request_id: str) -> None:
        """Write the reply, and go on with what follows on the connection."""


class Express:
    """Takes whole requests to routes that can read them at once."""

    def __init__(self, router: Router, batcher: Batcher, held: Held, max_body: int, observe: Observe) -> None:
        self.router = router
        self.batcher = batcher
        self.held = held
        self.max_body = max_body
        self.observe = observe
        # Callers ask the same few addresses for ever; the bound is for those who do not.
        self.find: Callable[[bytes], Target | None] = lru_cache(maxsize=1024)(self._find)

    def _find(self, url: bytes) -> Target | None:
        """Find what reads a POST to this address; None when nothing does, or its reading is not plain."""
        if not url.startswith(b"/") or url.startswith(b"//") or set(url) & set(b"%?#"):
            return None
        path = url.decode("latin-1")
        try:
            route, parameters = self.router.find("POST", path)
        except HttpError:
            return None
        return None if route.parse is None else (route.parse, path, parameters)

    def ask(self, line: Line, target: Target, headers: Headers, client: object, body: bytes) -> Call | None:
        """Have a request answered in its turn; None when it has to go the other way."""
        if len(body) > self.max_body:
            return None
        read, path, parameters = target
        scope = {"method": "POST", "path": path, "headers": headers, "query_string": b"", "client": client}
        request = Request(scope, _nothing, self.max_body, 0.0, self.held, parameters)
        call = Call(self, line, request)
        try:
            check_encoding(request)
            asked = read(request, body)
            if asked is None:
                return None
            call.inference_request = asked.request
            request.hold(len(body))
            self.batcher.enqueue(asked.model, asked.version, call)
        except Exception as error:
            call.failed = error
        return call


class _Nobody:
    """Stands for who waits for a message: nobody does, since the whole request is there."""

    def set(self) -> None:
        """Do nothing."""


class Call(QueuedRequest):
    """A whole request on its way to its answer; in uvicorn's protocol it has the place of a cycle.

    `failed` is why it never got into the queue: whoever made it tells it so, once it has its place.
    """

    __slots__ = (
        "began",
        "disconnected",
        "express",
        "failed",
        "keep_alive",
        "line",
        "request",
        "response_complete",
    )
    more_body = False
    message_event = _Nobody()
    inference_request: InferenceRequest

    def __init__(self, express: Express, line: Line, request: Request) -> None:
        self.express = express
        self.line = line
        self.request = request
        self.failed: Exception | None = None
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self.began = time.perf_counter()

    def is_cancelled(self) -> bool:
        """Tell whether the caller hung up."""
        return self.disconnected

    def discard(self) -> None:
        """Count a caller who hung up before the answer."""
        self.request.release()
        self.express.observe(self.request, 499, "disconnected", time.perf_counter() - self.began)

    def set_result(self, result: InferenceResponse | Exception) -> None:
        """Send the answer, or the error in words."""
        request = self.request
        request_id = request_id_of(request)
        kind = ""
        if isinstance(result, InferenceResponse):
            reply = prediction_response(result)
        else:
            reply, kind = error_reply(result, request, request_id)
        request.release()
        try:
            self.line.write_reply(self, reply, request_id)
        except Exception:
            # One connection's trouble is none of the batch's.
            log.exception("an answer could not be written")
        self.express.observe(request, reply.status, kind, time.perf_counter() - self.began)


async def _nothing() -> dict[str, object]:
    """Stand for receiving more, which nobody does: the body was handed over whole."""
    raise RuntimeError("the body has been read")


def head(status_line: bytes, more: bytes, reply: Response, request_id: str, closes: bool) -> bytes:
    """Write a reply's head; `more` are header lines that every reply has, such as the date."""
    size = b"content-length: %d\r\nx-request-id: " % len(reply.body)
    lines = [status_line, more, size, request_id.encode(), _lines(tuple(reply.headers.items()))]
    if closes and reply.headers.get("connection") != "close":
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


@lru_cache(maxsize=64)
def _lines(headers: Sequence[tuple[str, str]]) -> bytes:
    """Write header lines, JSON's content type among them unless they name another one."""
    named = dict(headers)
    whole = named if "content-type" in named else {"content-type": "application/json", **named}
    return b"".join(f"\r\n{name}: {value}".encode("latin-1") for name, value in whole.items()) + b"\r\n"
