"""Processes requests that arrive in one piece without an asyncio task per request.

This is an optimisation for small requests: the option --no-fast-path turns it off. A request that arrives in
parts, waits behind another request of its connection or contains an image goes to the ASGI application
instead. The responses are the same.

The fast path depends on internals of uvicorn's HttpToolsProtocol.
tests/continuous_training/serving/test_fast_path.py checks them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from continuous_training.serving.api.endpoint import Parse, Response
from continuous_training.serving.api.predict_endpoints import prediction_response
from continuous_training.serving.http.connection_limits import LimitedProtocol
from continuous_training.serving.http.cors import CorsPolicy
from continuous_training.serving.http.errors import HttpError
from continuous_training.serving.http.head_checks import check_head
from continuous_training.serving.http.requests import (
    InFlightBytes,
    Request,
    RequestLimits,
)
from continuous_training.serving.http.responses import (
    STATUS_DISCONNECTED,
    ResponseObserver,
    error_response,
    request_id_of,
)
from continuous_training.serving.http.routing import MAX_CACHED_PATHS, Router
from continuous_training.serving.models.batcher import Batcher, QueuedRequest
from continuous_training.serving.models.inference_request import InferenceRequest, InferenceResponse

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]


class FastPathTarget(NamedTuple):
    """The parser of the requests to one URL, and the path with the values of its placeholders."""

    parse: Parse
    path: str
    parameters: dict[str, str]


class FastPath:
    """Adds complete requests to the queue of the batcher."""

    def __init__(
        self,
        router: Router,
        batcher: Batcher,
        in_flight: InFlightBytes,
        max_body: int,
        observe: ResponseObserver,
        cors: CorsPolicy | None = None,
    ) -> None:
        self.router = router
        self.batcher = batcher
        self.in_flight = in_flight
        self.limits = RequestLimits(max_body, timeout=0.0)
        self.observe = observe
        self.cors = cors or CorsPolicy()
        self.find: Callable[[bytes], FastPathTarget | None] = lru_cache(maxsize=MAX_CACHED_PATHS)(self._find)

    def _find(self, url: bytes) -> FastPathTarget | None:
        """Return the target of POST requests to a URL, or None if the ASGI application must process them."""
        if not url.startswith(b"/") or url.startswith(b"//") or set(url) & set(b"%?#"):
            return None
        path = url.decode("latin-1")
        try:
            match = self.router.find("POST", path)
        except HttpError:
            return None
        parse = match.route.parse
        return None if parse is None else FastPathTarget(parse, path, match.parameters)

    def submit(
        self, connection: FastPathProtocol, target: FastPathTarget, headers: Headers, body: bytes
    ) -> FastPathRequest | None:
        """Add a request to the queue. Return None if the ASGI application must process it."""
        if len(body) > self.limits.max_body:
            return None
        scope = {
            "method": "POST",
            "http_version": connection.parser.get_http_version(),
            "path": target.path,
            "headers": headers,
            "query_string": b"",
            "client": connection.client,
        }
        request = Request(scope, _receive_nothing, self.limits, self.in_flight, target.parameters)
        pending = FastPathRequest(self, connection, request)
        try:
            check_head(request)
            call = target.parse(request, body)
            if call is None:
                return None
            pending.inference_request = call.request
            request.hold(len(body))
            self.batcher.enqueue(call.model, call.version, pending)
        except Exception as error:
            pending.error = error
        return pending


class _NoEvent:
    """Replaces the event that an ASGI application waits for: the request is already complete."""

    def set(self) -> None:
        """Do nothing."""


class FastPathRequest(QueuedRequest):
    """A complete request that waits for its inference. For uvicorn, it replaces a RequestResponseCycle.

    `error` is set if the request could not be queued. Its response is sent after the request has been
    registered as the current cycle of its connection.
    """

    __slots__ = (
        "connection",
        "disconnected",
        "error",
        "fast_path",
        "keep_alive",
        "request",
        "response_complete",
        "start",
    )
    more_body = False
    message_event = _NoEvent()
    inference_request: InferenceRequest

    def __init__(self, fast_path: FastPath, connection: FastPathProtocol, request: Request) -> None:
        self.fast_path = fast_path
        self.connection = connection
        self.request = request
        self.error: Exception | None = None
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False
        self.start = time.perf_counter()

    def is_cancelled(self) -> bool:
        """Return True if the client has closed the connection."""
        return self.disconnected

    def discard(self) -> None:
        """Count a client that disconnected before its request was processed."""
        self.request.release()
        seconds = time.perf_counter() - self.start
        self.fast_path.observe(self.request, STATUS_DISCONNECTED, "disconnected", seconds)

    def set_result(self, result: InferenceResponse | Exception) -> None:
        """Send the response for the result or the error of the inference."""
        request = self.request
        request_id = request_id_of(request)
        error_kind = ""
        if isinstance(result, InferenceResponse):
            response = prediction_response(result)
        else:
            response, error_kind = error_response(result, request, request_id)
        response = self.fast_path.cors.apply(request, response)
        request.release()
        try:
            self.connection.write_response(self, response, request_id)
        except Exception:
            # An error on one connection must not affect the other requests of the batch.
            log.exception("writing a response failed")
        self.fast_path.observe(request, response.status, error_kind, time.perf_counter() - self.start)


class FastPathProtocol(LimitedProtocol):
    """Passes requests that arrive in one piece to the fast path, and all others to uvicorn.

    uvicorn creates its objects for a request at the first line. This class delays that until the end of the
    received data, and does it only for requests that the fast path cannot process.
    """

    def __init__(self, *args: Any, fast_path: FastPath, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fast_path = fast_path
        self._target: FastPathTarget | None = None
        self._body_parts: list[bytes] | None = None
        """The body of a request for the fast path; None while uvicorn processes the request."""

    def parse_available(self) -> None:
        """Parse the unparsed bytes. Pass a request that is still incomplete to uvicorn."""
        super().parse_available()
        if self._body_parts is not None:
            self._switch_to_asgi()

    def on_message_begin(self) -> None:
        """Start a request, without the scope that uvicorn creates."""
        self.begin_message()
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Choose between the fast path and uvicorn."""
        if self.parser.offers_upgrade():
            return
        self._in_head = False
        self._cancel_head_timer()
        self._target = self._find_target()
        if self._target is None:
            self._start_asgi_request()
        else:
            self._body_parts = []

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        if self._body_parts is None:
            super().on_body(body)
        else:
            self.count_body(len(body))
            self._body_parts.append(body)

    def on_message_complete(self) -> None:
        """Submit a complete request to the fast path."""
        if self._body_parts is None:
            super().on_message_complete()
            return
        parts = self._body_parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        request = None
        if self._target is not None:
            request = self._fast_path.submit(self, self._target, self.headers, body)
        if request is None:
            self._switch_to_asgi()
            if not self.transport.is_closing():
                super().on_message_complete()
            return
        self._body_parts = None
        request.keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self.cycle = request  # type: ignore[assignment]
        if request.error is not None:
            request.set_result(request.error)

    def write_response(self, request: FastPathRequest, response: Response, request_id: str) -> None:
        """Write a response in one piece, and continue with the next request as uvicorn does."""
        request.response_complete = True
        if self.transport.is_closing():
            return
        closes = (
            not request.keep_alive or self._stopping.is_set() or response.headers.get("connection") == "close"
        )
        default_headers = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        head = response_head(STATUS_LINE[response.status], default_headers, response, request_id, closes)
        self.transport.write(head + response.body)
        if closes:
            self.transport.close()
        self.on_response_complete()

    def _find_target(self) -> FastPathTarget | None:
        """Return the target of the current request, or None if uvicorn must process it."""
        if self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        if self.cycle is not None and not self.cycle.response_complete:  # A pipelined request must wait.
            return None
        # A client that does not read its responses must not get more of them: only an ASGI task can wait.
        if self.flow.write_paused or self.transport.is_closing():
            return None
        return self._fast_path.find(self.url)

    def _start_asgi_request(self) -> None:
        """Let uvicorn create the scope and the task of a request whose head is complete."""
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.headers, self.expect_100_continue = url, headers, expect_100_continue
        self.scope["headers"] = headers
        super().on_headers_complete()

    def _switch_to_asgi(self) -> None:
        """Let uvicorn process a request of which a part of the body may have arrived."""
        parts, self._body_parts = self._body_parts or [], None
        if self.transport.is_closing():
            return
        self._start_asgi_request()
        for part in parts:
            HttpToolsProtocol.on_body(self, part)


async def _receive_nothing() -> dict[str, object]:
    """Replace the ASGI function `receive`: the body is already complete."""
    raise RuntimeError("the body of a request on the fast path is complete before it is parsed")


def response_head(
    status_line: bytes, default_headers: bytes, response: Response, request_id: str, closes: bool
) -> bytes:
    """Return the status line and the headers of a response. `default_headers` are sent with all responses."""
    size = b"content-length: %d\r\nx-request-id: " % len(response.body)
    headers = _encode_headers(tuple(response.headers.items()))
    lines = [status_line, default_headers, size, request_id.encode(), headers]
    if closes and response.headers.get("connection") != "close":
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


@lru_cache(maxsize=64)
def _encode_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return header lines, with the content type of JSON unless the headers contain another one."""
    values = dict(headers)
    if "content-type" not in values:
        values = {"content-type": "application/json", **values}
    return b"".join(f"\r\n{name}: {value}".encode("latin-1") for name, value in values.items()) + b"\r\n"
