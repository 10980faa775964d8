"""Errors that the HTTP layer raises itself."""

from __future__ import annotations

RETRY_AFTER = {"retry-after": "1"}
"""Headers of a response with status 503."""


class HttpError(Exception):
    """An error with the status and the headers of its response; the message is for the client."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class ClientDisconnected(Exception):
    """The client closed the connection before the request was complete."""
