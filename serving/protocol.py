"""uvicorn's HTTP protocol, patient with slow callers to a limit, and polite to half-closed ones."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""The most bytes of a request's line and headers."""

_FRAMED = 9

_TOO_MANY = b"too many callers are connected; try again in a moment"
_TOO_LARGE = b"the request's line and headers are larger than %d bytes" % MAX_HEAD


class Protocol(HttpToolsProtocol):
    """Ends connections that are too many, whose request does not arrive in time, or whose headers never end.

    `head_seconds` is how long a request's line and headers may take, from its first byte, or from the
    connection's beginning.
    """

    def __init__(self, *args: Any, head_seconds: float, max_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_seconds = head_seconds
        self._max_connections = max_connections
        self._head: asyncio.TimerHandle | None = None
        self._overhead = 0
        """The bytes of this message that are not its body: its head, the frames of chunks, a trailer."""

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
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; more than a head's worth of bytes that are no body are refused."""
        if self.transport.is_closing():
            return
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MAX_HEAD and not self.transport.is_closing():
            if self._head is None:  # a trailer without end: the request is with the application already
                self.transport.close()
            else:
                self._refuse(b"431 Request Header Fields Too Large", _TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of the head."""
        self._overhead = 0
        if self._head is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there: whatever else takes time is the application's concern."""
        self._unset_head()
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those of a trailer are of no use here."""
        if self._head is not None:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; each of its bytes may have been framed by eight others."""
        self._overhead -= _FRAMED * len(body)
        super().on_body(body)

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
