"""uvicorn's HTTP protocol with limits for the number of connections and for the head of a request.

It also answers clients that have closed their sending side or offer an upgrade to another protocol, and uses
one timer per connection for keep-alive.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from continuous_training.serving.http.backpressure import BackpressureProtocol
from continuous_training.serving.http.request_parser import RequestParser
from continuous_training.serving.http.requests import InFlightBytes

MAX_HEAD_BYTES = 64 * 1024
"""The maximum size of a request line and its headers."""

MAX_BYTES_PER_BODY_BYTE = 9
"""The size of a chunk with one byte: a chunked body can be this much larger on the wire."""

_TOO_MANY_CONNECTIONS = b"the server has too many connections; try again in a moment"
_HEAD_TOO_LARGE = b"the request line and headers are larger than %d bytes" % MAX_HEAD_BYTES


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of the connections of a server.

    `seconds` is the time for a request line and its headers to arrive, counted from the start of the
    connection or the first byte of the request. It is also the time for the client to read its responses:
    see `ConnectionFlow`. `in_flight` counts the bytes of requests that wait behind others. When `stopping` is
    set, the server closes each connection after the next response.
    """

    max_connections: int
    seconds: float
    in_flight: InFlightBytes
    stopping: Event = field(default_factory=Event)


class LimitedProtocol(BackpressureProtocol):
    """Applies the limits to one connection."""

    parser: RequestParser

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, in_flight=limits.in_flight, read_seconds=limits.seconds, **kwargs)
        self.parser = RequestParser(self)
        self._limits = limits
        self._stopping = limits.stopping
        self._head_timer: asyncio.TimerHandle | None = None
        self._keep_alive_timer: asyncio.TimerHandle | None = None
        self._last_response_time = 0.0
        self._overhead_bytes = 0
        """The bytes of the current message that are not its body: head, chunk sizes and trailer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request. Refuse the connection if there are too many."""
        super().connection_made(transport)
        self._last_response_time = self.loop.time()
        if len(self.connections) > self._limits.max_connections:
            self._refuse(b"503 Service Unavailable\r\nretry-after: 1", _TOO_MANY_CONNECTIONS)
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._cancel_head_timer()
        if self._keep_alive_timer is not None:
            self._keep_alive_timer.cancel()
        super().connection_lost(exc)

    def parse_piece(self, piece: bytes | memoryview) -> None:
        """Parse bytes. Refuse a request whose head or trailer is too large."""
        self._overhead_bytes += len(piece)
        super().parse_piece(piece)
        if self._in_head and self._head_timer is None:
            self._start_head_timer()
        if self._overhead_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            if self._in_head:
                self._refuse(b"431 Request Header Fields Too Large", _HEAD_TOO_LARGE)
            else:  # The application already has the request, so this is not the place for a response.
                self.close()

    def on_message_begin(self) -> None:
        """Start a request."""
        self.begin_message()
        super().on_message_begin()

    def begin_message(self) -> None:
        """Start a request."""
        super().begin_message()
        self._overhead_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header without the spaces after its value. Ignore the headers of a trailer."""
        if self._in_head:
            name, value = name.lower(), value.rstrip(b" \t")
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass the request to the application."""
        if self.parser.offers_upgrade():
            return
        self._in_head = False
        self._cancel_head_timer()
        super().on_headers_complete()
        if self._stopping.is_set() and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self.count_body(len(body))
        super().on_body(body)

    def count_body(self, size: int) -> None:
        """Count received bytes of the body."""
        self._body_bytes += size
        self._overhead_bytes -= MAX_BYTES_PER_BODY_BYTE * size

    def on_message_complete(self) -> None:
        """Let the application know that the body is complete."""
        if not self.parser.offers_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for a request until the keep-alive timeout.

        One timer covers many requests: it is cheaper to read the clock for each request than to set a timer.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.flow.limit_writing()
            return
        self.flow.resume_reading()
        if self.start_next_request():
            return
        self._last_response_time = self.loop.time()
        if self._keep_alive_timer is None:
            self._keep_alive_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection open for the response if the client has only closed its sending side."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return None

    def send_400_response(self, msg: str) -> None:
        """Send the response to invalid HTTP as JSON, like all other error responses."""
        self._refuse(b"400 Bad Request", msg.encode("ascii", "replace"))

    def close_if_idle_for(self, seconds: float) -> None:
        """Close the connection if it has had no request for this time, else after the next response."""
        if self.transport.is_closing():
            return
        is_in_head = self._in_head and self._message_count > 0
        has_request = is_in_head or (self.cycle is not None and not self.cycle.response_complete)
        if has_request or self.flow.has_unread_bytes():
            if self.cycle is not None:
                self.cycle.keep_alive = False
        elif self.loop.time() - self._last_response_time >= seconds:
            self.close()

    def _close_if_idle(self) -> None:
        has_request = self._in_head or (self.cycle is not None and not self.cycle.response_complete)
        remaining = self.timeout_keep_alive - (
            0 if has_request else self.loop.time() - self._last_response_time
        )
        if remaining > 0:
            self._keep_alive_timer = self.loop.call_later(remaining, self._close_if_idle)
        else:
            self.close()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.seconds, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_head_timer()  # The previous request is still in progress.
        else:
            self.close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes, message: bytes) -> None:
        self._cancel_head_timer()
        body = b'{"error":"' + message.replace(b'"', b"'") + b'"}'
        lines = [
            b"HTTP/1.1 " + status,
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            b"",
            body,
        ]
        self.transport.write(b"\r\n".join(lines))
        self.close()
