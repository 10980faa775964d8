"""uvicorn's HTTP protocol, patient with slow callers to a limit, polite to half-closed ones, and quick.

What arrives whole goes to `express`; whatever else there is, uvicorn does as it always does.
"""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from continuous_training.serving.api.endpoint import Response
from continuous_training.serving.http.fast_path import Call, Express, Target, head

MAX_HEAD = 64 * 1024
"""The most bytes of a request's line and headers."""

_FRAMED = 9

_TOO_MANY = b"too many callers are connected; try again in a moment"
_TOO_LARGE = b"the request's line and headers are larger than %d bytes" % MAX_HEAD


class Protocol(HttpToolsProtocol):
    """Ends connections that are too many, whose request does not arrive in time, or whose headers never end.

    `head_seconds` is how long a request's line and headers may take, from its first byte, or from the
    connection's beginning. Once `leaving` is set, the connection of each request that begins is closed with
    its answer.
    """

    def __init__(
        self,
        *args: Any,
        head_seconds: float,
        max_connections: int,
        leaving: Event,
        express: Express | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._head_seconds = head_seconds
        self._max_connections = max_connections
        self._leaving = leaving
        self._express = express
        self._head: asyncio.TimerHandle | None = None
        self._in_head = True
        self._idle: asyncio.TimerHandle | None = None
        self._answered = 0.0
        self._overhead = 0
        """The bytes of this message that are not its body: its head, the frames of chunks, a trailer."""
        self._target: Target | None = None
        self._parts: list[bytes] | None = None
        """What there is of a body that may arrive whole; None when nobody waits for that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room for one more caller."""
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self._refuse(b"503 Service Unavailable\r\nretry-after: 1", _TOO_MANY)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._unset_head()
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; more than a head's worth of bytes that are no body are refused."""
        if self.transport.is_closing():
            return
        self._overhead += len(data)
        super().data_received(data)
        if self._parts is not None:
            self._go_on_as_task()
        if self._in_head and self._head is None:
            self._await_head()
        if self._overhead > MAX_HEAD and not self.transport.is_closing():
            if not self._in_head:  # a trailer without end: the request is with the application already
                self.transport.close()
            else:
                self._refuse(b"431 Request Header Fields Too Large", _TOO_LARGE)

    def on_message_begin(self) -> None:
        """Make room for a request; what uvicorn makes of it is made when it is needed."""
        self._overhead = 0
        self._in_head = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those of a trailer are of no use here."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there: wait for the end of what was received, or begin at once."""
        self._in_head = False
        self._unset_head()
        self._target = self._quick()
        if self._target is None:
            self._as_task()
        else:
            self._parts = []

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; each of its bytes may have been framed by eight others."""
        self._overhead -= _FRAMED * len(body)
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._parts is None:
            super().on_message_complete()
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        call = None
        if self._express is not None and self._target is not None:
            call = self._express.ask(self, self._target, self.headers, self.client, body)
        if call is None:
            self._go_on_as_task()
            if not self.transport.is_closing():
                super().on_message_complete()
            return
        self._parts = None
        call.keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self.cycle = call  # type: ignore[assignment]
        if call.failed is not None:
            call.set_result(call.failed)

    def _quick(self) -> Target | None:
        """Say who reads this request at once; None when it needs more than that, or has to wait."""
        if self._express is None or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # it is behind another one
            return None
        # Who does not read the answers gets no more of them: a task waits until there is room.
        if self.flow.write_paused or self.parser.should_upgrade() or self.transport.is_closing():
            return None
        return self._express.find(self.url)

    def _as_task(self) -> None:
        """Let uvicorn make a task of the request, from what is known of it."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()
        if self._leaving.is_set() and self.cycle is not None:
            self.cycle.keep_alive = False

    def _go_on_as_task(self) -> None:
        """Do so when a part of the body is there already."""
        parts, self._parts = self._parts or [], None
        if self.transport.is_closing():
            return
        self._as_task()
        for part in parts:
            super().on_body(part)

    def write_reply(self, call: Call, reply: Response, request_id: str) -> None:
        """Write the answer to a whole request in one piece, and go on as uvicorn does after an answer."""
        call.response_complete = True
        if self.transport.is_closing():
            return
        closes = not call.keep_alive or self._leaving.is_set() or reply.headers.get("connection") == "close"
        more = b"".join([b"%b: %b\r\n" % pair for pair in self.server_state.default_headers])
        self.transport.write(head(STATUS_LINE[reply.status], more, reply, request_id, closes) + reply.body)
        if closes:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Begin with what follows on the connection, or wait for it for as long as connections are kept."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._answered = self.loop.time()
        # One timer for many answers: setting one takes longer than looking at the time.
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._end_when_idle)

    def _end_when_idle(self) -> None:
        busy = self._in_head or (self.cycle is not None and not self.cycle.response_complete)
        left = self.timeout_keep_alive - (0 if busy else self.loop.time() - self._answered)
        if left > 0:
            self._idle = self.loop.call_later(left, self._end_when_idle)
        else:
            self.transport.close()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what a caller asked before it said that it will say no more; then close."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in JSON as everything else here."""
        self._refuse(b"400 Bad Request", msg.encode("ascii", "replace"))

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self._head_seconds, self._late)

    def _late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # the request before this one is still being answered
        else:
            self.transport.close()

    def _unset_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _refuse(self, status: bytes, words: bytes) -> None:
        self._unset_head()
        body = b'{"error":"' + words.replace(b'"', b"'") + b'"}'
        lines = [
            b"HTTP/1.1 " + status,
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            b"",
            body,
        ]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()
