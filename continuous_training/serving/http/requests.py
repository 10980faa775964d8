"""HTTP requests of an ASGI application, with limits for the size and the time of the body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from continuous_training.serving.http.errors import RETRY_AFTER, ClientDisconnected, HttpError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MAX_DISCARDED = 8
"""How much of a body is read and discarded, in multiples of its limit.

A client that still sends its body does not read the response.
"""


class InFlightBytes:
    """Limits the total size in bytes of the request bodies that an application holds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0

    def add(self, size: int) -> None:
        """Add the size of a body or of a part of it. Raises HttpError 503 if the limit is exceeded."""
        if self.bytes + size > self.limit:
            message = f"the server already holds {self.bytes} bytes of requests; try again in a moment"
            raise HttpError(503, message, {**RETRY_AFTER, "connection": "close"})
        self.bytes += size


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request: `max_body` bytes, and `timeout` seconds for its body to arrive."""

    max_body: int
    timeout: float


@dataclass(eq=False, slots=True)
class Request:
    """One HTTP request. `parameters` are the values of the path's placeholders.

    `held_bytes` is the share of this request in `in_flight`. An endpoint sets `model` to the name of the
    requested model, for logs and metrics.
    """

    scope: Scope
    receive: Receive
    limits: RequestLimits
    in_flight: InFlightBytes
    parameters: dict[str, str] = field(default_factory=dict)
    model: str = ""
    held_bytes: int = 0
    _headers: dict[bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # If a header occurs more than once, the first value is used.
        self._headers = dict(reversed(self.scope["headers"]))

    @property
    def path(self) -> str:
        """The path of the URL, with the root path if the proxy did not remove it."""
        path: str = self.scope["path"]
        return path

    @property
    def query_string(self) -> bytes:
        """The part of the URL after `?`, without decoding."""
        query: bytes = self.scope.get("query_string", b"")
        return query

    def header(self, name: bytes) -> str | None:
        """Return the value of a header by its lower-case name, or None."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def hold(self, size: int) -> None:
        """Count `size` bytes as in flight until `release`. Raises HttpError 503 over the common limit."""
        self.in_flight.add(size)
        self.held_bytes += size

    def release(self) -> None:
        """Stop counting the bytes of this request. Called when the response is complete."""
        self.in_flight.bytes -= self.held_bytes
        self.held_bytes = 0

    async def body(self) -> bytes:
        """Read the whole body. Raises HttpError 413 if it is too large, and 408 after the timeout."""
        task = asyncio.current_task()
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            if task is not None:
                task.cancel()

        # asyncio.wait_for would create one more task for each request.
        timer = asyncio.get_running_loop().call_later(self.limits.timeout, expire)
        try:
            return await self._read()
        except asyncio.CancelledError:
            if not expired:
                raise
            if task is not None and hasattr(task, "uncancel"):
                task.uncancel()
            message = f"the body did not arrive within {self.limits.timeout:g} s; send it without a pause"
            raise HttpError(408, message, {"connection": "close"}) from None
        finally:
            timer.cancel()

    async def _read(self) -> bytes:
        max_body = self.limits.max_body
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= max_body:
                self.hold(len(chunk))
                chunks.append(chunk)
            elif chunks:
                chunks.clear()
                self.release()
            if not message.get("more_body", False) or size > max_body * _MAX_DISCARDED:
                break
        if size > max_body:
            text = f"the body is larger than {max_body} bytes; split the request into smaller ones"
            raise HttpError(413, text, {"connection": "close"})
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]
