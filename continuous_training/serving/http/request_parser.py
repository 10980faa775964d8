"""A parser of HTTP/1.1 requests that ignores an offered upgrade to another protocol."""

from __future__ import annotations

from typing import Protocol

from httptools import HttpParserUpgrade, HttpRequestParser


class RequestProtocol(Protocol):
    """The attributes of uvicorn's protocol that hold the current request."""

    url: bytes
    headers: list[tuple[bytes, bytes]]


class RequestParser(HttpRequestParser):
    """Parses a request that offers an upgrade, for example to h2c or websocket, like any other request.

    A server may ignore an upgrade (RFC 9110, section 7.8). llhttp cannot: it ends such a request after its
    head, and leaves the body to the other protocol. This class then parses the head again without the header
    `upgrade`. The protocol must ignore the callbacks of the first time, which `offers_upgrade` identifies.
    """

    def __init__(self, protocol: RequestProtocol) -> None:
        self._protocol = protocol
        self._reset()

    def offers_upgrade(self) -> bool:
        """Return whether the current head is going to be parsed again."""
        # llhttp also reports an upgrade for CONNECT, which has no body.
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def feed_data(self, data: bytes | memoryview) -> None:  # type: ignore[override]
        """Parse received bytes."""
        while True:
            try:
                super().feed_data(data)
            except HttpParserUpgrade as upgrade:
                if not self.offers_upgrade():
                    raise
                head = self._head_without_upgrade()
                # After a request with `connection: close`, llhttp would skip the head.
                self._reset()
                super().feed_data(head)
                data = memoryview(data)[upgrade.args[0] :]
            else:
                return

    def _reset(self) -> None:
        super().__init__(self._protocol)
        # As in uvicorn: a request is answered even if more data follows its `connection: close`.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def _head_without_upgrade(self) -> bytes:
        request_line = b"%b %b HTTP/%b" % (
            self.get_method(),
            self._protocol.url,
            self.get_http_version().encode(),
        )
        headers = [b"%b: %b" % header for header in self._protocol.headers if header[0] != b"upgrade"]
        return b"\r\n".join([request_line, *headers, b"", b""])
