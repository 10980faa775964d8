"""The little of HTTP that both applications need: a body within limits, JSON out, errors in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from continuous_training.serving.api.endpoint import Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_DISCARD = 8
"""How many times the limit is read and thrown away, so that the caller gets to see the refusal."""

RETRY = {"retry-after": "1"}


class HttpError(Exception):
    """An answer other than 200, with its words."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class DisconnectedError(Exception):
    """The caller hung up before the request was complete."""


class Held:
    """Counts the bytes of all requests that an application holds, and refuses those that are too many."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0

    def take(self, size: int) -> None:
        """Hold that many more; HttpError 503 when that is over the limit."""
        if self.bytes + size > self.limit:
            message = f"the server holds {self.bytes} bytes of requests already; try again in a moment"
            raise HttpError(503, message, {**RETRY, "connection": "close"})
        self.bytes += size


@dataclass(eq=False, slots=True)
class Request:
    """One request as a route sees it; `parameters` are the path's placeholders."""

    scope: Scope
    receive: Receive
    max_body: int
    timeout: float
    held: Held
    parameters: dict[str, str] = field(default_factory=dict)
    model: str = ""
    """The name of the model that is asked, once it is known; for logs and metrics."""
    holding: int = 0
    _headers: dict[bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Of several with one name the first counts.
        self._headers = dict(reversed(self.scope["headers"]))

    @property
    def query_string(self) -> bytes:
        """The part of the URL after `?`, without decoding."""
        query: bytes = self.scope.get("query_string", b"")
        return query

    def header(self, name: bytes) -> str | None:
        """Return a header's value by its lower-case name; None when it is not there."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def hold(self, size: int) -> None:
        """Hold that many bytes until the request is answered; HttpError 503 when all hold too many."""
        self.held.take(size)
        self.holding += size

    async def body(self) -> bytes:
        """Read the whole body; HttpError 413 when it is too large, 408 when it does not arrive in time."""
        task = asyncio.current_task()
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            if task is not None:
                task.cancel()

        # Cheaper than wait_for, which makes a task of its own for each request.
        timer = asyncio.get_running_loop().call_later(self.timeout, expire)
        try:
            return await self._read()
        except asyncio.CancelledError:
            if not late:
                raise
            if task is not None and hasattr(task, "uncancel"):
                task.uncancel()
            words = f"the body did not arrive within {self.timeout:g} s; send it at once"
            raise HttpError(408, words, {"connection": "close"}) from None
        finally:
            timer.cancel()

    async def _read(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self.max_body:
                self.hold(len(chunk))
                chunks.append(chunk)
            elif chunks:
                chunks.clear()
                self.release()
            if not message.get("more_body", False) or size > self.max_body * _DISCARD:
                break
        if size > self.max_body:
            words = f"the body is larger than {self.max_body} bytes; send less at a time"
            raise HttpError(413, words, {"connection": "close"})
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]

    def release(self) -> None:
        """Hold nothing any more; called when the request is answered."""
        self.held.bytes -= self.holding
        self.holding = 0


def check_encoding(request: Request) -> None:
    """Return when a request's body is sent as it is; HttpError 415 otherwise."""
    if (request.header(b"content-encoding") or "identity") != "identity":
        raise HttpError(415, "this server reads bodies as they are; send without content-encoding")


async def send_reply(scope: Scope, send: Send, reply: Response, request_id: str) -> None:
    """Send a reply; to HEAD, its head alone."""
    headers = [(b"content-length", b"%d" % len(reply.body)), (b"x-request-id", request_id.encode())]
    if "content-type" not in reply.headers:
        headers.append((b"content-type", b"application/json"))
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
