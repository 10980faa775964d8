"""HTTP servers with responses that a test defines."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

Answer = tuple[int, Any]
"""Status and body. A body of bytes is sent unchanged, other values are sent as JSON."""


@dataclass
class Web:
    """The URL of a server, its requests (method, path, body) and their Authorization headers."""

    url: str
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@contextmanager
def web(
    answer: Callable[[str, str], Answer], headers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Web]:
    """Serve on 127.0.0.1 in the `with` block. `answer` receives the method and the path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            site.requests.append((self.command, self.path, body))
            site.authorizations.append(self.headers.get("authorization"))
            status, content = answer(self.command, self.path)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Do not log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """Return an unused port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_kubeconfig(path: Path, server: str) -> None:
    """Write a kubeconfig with one context for the API server at this address."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
