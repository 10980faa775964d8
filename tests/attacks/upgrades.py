"""Requests that offer an upgrade to another protocol, which a server may ignore (RFC 9110, section 7.8)."""

from __future__ import annotations

from .exchange import BODY, LENGTH, Exchange, head

PROTOCOLS = ("h2c", "websocket", "WebSocket, h2c", "TLS/1.0, HTTP/1.1", "x")
HTTP2_SETTINGS = "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"
CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b'4\r\n{"x"\r\n5\r\n:[1]}\r\n0\r\n\r\n'


def offer(protocol: str, *lines: str, connection: str = "Upgrade, HTTP2-Settings") -> tuple[str, ...]:
    """Return the header lines of a request that offers a protocol."""
    return ("Host: x", f"Connection: {connection}", f"Upgrade: {protocol}", HTTP2_SETTINGS, *lines)


def _closing_request(number: int) -> bytes:
    body = b'{"x":[%d]}' % number
    return head("Host: x", "Connection: close", f"Content-Length: {len(body)}") + body


def _offers() -> dict[str, Exchange]:
    """Return requests in one to three packets. Each is followed by another request of the connection."""
    exchanges = {}
    for protocol in PROTOCOLS:
        for framing, body in ((LENGTH, BODY), (CHUNKED, CHUNKS)):
            request = head(*offer(protocol, framing))
            parts = [[request + body], [request, body], [request[:60], request[60:] + body[:3], body[3:]]]
            for packets in parts:
                name = f"{protocol}, {framing}, {len(packets)} packets"
                exchanges[name] = Exchange((*packets, _closing_request(2)), (200, 200), (2, 4))
    return exchanges


def _without_body(method: str, path: str, status: int) -> Exchange:
    request = head(*offer("websocket", "Sec-WebSocket-Version: 13"), method=method, path=path)
    return Exchange((request, _closing_request(1)), (status, 200), (2,))


_REQUEST = head(*offer("h2c", LENGTH))

UPGRADES = {
    **_offers(),
    "pipelined": Exchange(
        (b"".join(_REQUEST + b'{"x":[%d]}' % number for number in range(1, 9)) + _closing_request(9),),
        (200,) * 9,
        tuple(range(2, 20, 2)),
    ),
    **{
        connection: Exchange(
            (head(*offer("h2c", LENGTH, connection=connection)) + BODY,), (200,), (2,), b"connection: close"
        )
        for connection in ("close, Upgrade", "Upgrade, close")
    },
    "HTTP/1.0": Exchange((head(*offer("h2c", LENGTH), version="1.0") + BODY,), (200,), (2,)),
    "100-continue": Exchange(
        (head(*offer("h2c", LENGTH, "Expect: 100-continue")), BODY, _closing_request(2)),
        (100, 200, 200),
        (2, 4),
    ),
    "GET": _without_body("GET", "/v2/health/live", 200),
    "GET of an unknown path": _without_body("GET", "/none", 404),
    "GET of a path for POST": _without_body("GET", "/predict/toy", 405),
    "invalid body": Exchange(
        (head(*offer("h2c", "Content-Length: 1")) + b"{", _closing_request(1)), (400, 200), (2,)
    ),
}
