"""uvicorn's HTTP protocol with backpressure for clients that pipeline requests or do not read responses.

Received bytes are parsed in small pieces, and only while no parsed request of the connection waits. The bytes
that follow stay unparsed, and reading from the connection is paused. Without this, uvicorn creates several
kilobytes of objects for each request in the received bytes, of which the smallest has 18 bytes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from continuous_training.serving.http.errors import HttpError
from continuous_training.serving.http.flow_control import ConnectionFlow
from continuous_training.serving.http.requests import InFlightBytes

PIECE_BYTES = 512
"""How much is parsed at once where a request can begin. A body is parsed in one piece."""


class BackpressureProtocol(HttpToolsProtocol):
    """Parses received bytes in pieces, and pauses reading while some of them are unparsed.

    `in_flight` counts the unparsed bytes. `read_seconds` is the time limit of `ConnectionFlow`.
    """

    flow: ConnectionFlow

    def __init__(self, *args: Any, in_flight: InFlightBytes, read_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_flight = in_flight
        self._read_seconds = read_seconds
        self._unparsed: bytes | memoryview = b""
        self._counted_bytes = 0
        self._is_parsing = False
        self._in_head = True
        self._message_count = 0
        self._body_bytes = 0
        """The received bytes of the current request's body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Replace uvicorn's flow control."""
        super().connection_made(transport)
        self.flow = ConnectionFlow(transport, self.loop, self._read_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Discard the unparsed bytes, and end the time limit for reading responses."""
        self._unparsed = b""
        self._count_unparsed()
        super().connection_lost(exc)
        self.flow.end()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes until a request of the connection has to wait."""
        if not self.transport.is_closing():
            self._unparsed = b"".join([self._unparsed, data]) if self._unparsed else data
            self.parse_available()

    def parse_available(self) -> None:
        """Parse the unparsed bytes until a request has to wait.

        After the first request, the rest is left for a later iteration of the event loop, so that a client
        with many small requests does not delay the others.
        """
        last_message = self._message_count + 1
        self._is_parsing = True
        while self._unparsed and not self.pipeline and not self.transport.is_closing():
            size = self._remaining_body()
            if self._message_count > last_message and not size:
                self.loop.call_soon(self.parse_available)
                break
            piece, self._unparsed = _split(self._unparsed, size or PIECE_BYTES)
            self.parse_piece(piece)
        self._is_parsing = False
        if self._unparsed or self._counted_bytes:
            self._count_unparsed()

    def parse_piece(self, piece: bytes | memoryview) -> None:
        """Pass bytes to the parser."""
        super().data_received(piece)  # type: ignore[arg-type]

    def start_next_request(self) -> bool:
        """Start the next request that waits; return False if none does.

        Called when a response is complete.
        """
        started = bool(self.pipeline)
        if started:
            self._start_asgi_task(*self.pipeline.pop())
        if self._unparsed and not self.pipeline and not self._is_parsing:
            self.loop.call_soon(self.parse_available)
        return started

    def close(self) -> None:
        """Close the connection after the client has read its responses."""
        self.transport.close()
        self.flow.limit_writing()

    def shutdown(self) -> None:
        """Close the connection after the response in progress, if any."""
        super().shutdown()
        if self.transport.is_closing():
            self.flow.limit_writing()

    def begin_message(self) -> None:
        """Start a request."""
        self._in_head = True
        self._message_count += 1
        self._body_bytes = 0

    def _remaining_body(self) -> int:
        """Return how many bytes of the current request's body have not arrived; 0 if it is chunked."""
        if self._in_head:
            return 0
        for name, value in self.headers:
            if name == b"content-length" and value.isdigit():
                return max(0, int(value) - self._body_bytes)
        return 0

    def _count_unparsed(self) -> None:
        """Update the number of bytes in flight. Pause reading while there are unparsed bytes.

        Above the limit of all connections, discard them: the connection ends with the last parsed request.
        """
        self._in_flight.bytes -= self._counted_bytes
        self._counted_bytes = 0
        if self.transport.is_closing():
            self._unparsed = b""
            return
        try:
            self._in_flight.add(len(self._unparsed))
        except HttpError:
            self._discard_unparsed()
        else:
            self._counted_bytes = len(self._unparsed)
            if self._unparsed:
                self.flow.block_reading()
            else:
                self.flow.unblock_reading()

    def _discard_unparsed(self) -> None:
        self._unparsed = b""
        self.flow.block_reading()
        if self.cycle is None or self.cycle.response_complete:
            self.close()
        else:
            self.cycle.keep_alive = False


def _split(data: bytes | memoryview, size: int) -> tuple[bytes | memoryview, bytes | memoryview]:
    """Return the first `size` bytes and the rest, without copying them."""
    if len(data) <= size:
        return data, b""
    view = memoryview(data)
    return view[:size], view[size:]
