"""A simulated S3 service, for answers that a real one gives rarely: errors, redirects, checksums."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FaultyStore:
    """The configuration of the service, which a test can change.

    `objects` are by host and path, such as "127.0.0.1/bucket/key". With `error`, the requests with one of
    `error_methods` are answered with this status and code. `get_etag` replaces the ETag of responses to GET.
    """

    port: int
    objects: dict[str, bytes] = field(default_factory=dict)
    error: tuple[int, str] | None = None
    error_methods: tuple[str, ...] = ("GET", "HEAD")
    region: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    get_etag: str = ""
    content_type: str = "application/xml"
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def uri(self, path: str, options: str = "", host: str = "127.0.0.1") -> str:
        """Return the address of an object or a prefix."""
        return f"s3://{path}?endpoint={host}:{self.port}&secure=false{options}"


@contextmanager
def serve() -> Iterator[FaultyStore]:
    """Run the service on 127.0.0.1 in the `with` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host = self.headers["Host"].partition(":")[0]
            store.requests.append((self.command, host + self.path, dict(self.headers)))
            if store.error and self.command in store.error_methods:
                return self._error(*store.error)
            scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3", self.headers.get("Authorization", ""))
            if store.region and scope and scope[1] != store.region:
                return self._error(400, "AuthorizationHeaderMalformed")
            content = store.objects.get(host + self.path.partition("?")[0])
            if content is None:
                is_bucket = any(key.startswith(host + self.path) for key in store.objects)
                return self._send(200, b"") if is_bucket else self._error(404, "NoSuchKey")
            etag = store.get_etag if self.command == "GET" and store.get_etag else '"one"'
            return self._send(200, content, {"ETag": etag, "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT"})

        do_HEAD = do_GET  # noqa: N815

        def _error(self, status: int, code: str) -> None:
            region = f"<Region>{store.region}</Region>" if store.region else ""
            body = f"<Error><Code>{code}</Code><Message>the reason</Message>{region}</Error>"
            self._send(status, body.encode(), {"Content-Type": store.content_type})

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in {**(headers or {}), **store.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Do not log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store = FaultyStore(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
