"""HTTP servers with responses that a test defines."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

PORTS = range(20_000, 30_000)
"""The ports that tests listen on."""

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
    """Return an unused port of 127.0.0.1 that no other test gets for the next thousands of calls.

    The system never chooses these ports for an outgoing connection or for port 0 (on Linux it
    starts at 32768), so nothing takes the port before the test's own server listens.
    """
    # Not TMPDIR: suites that run at the same time have different ones.
    with Path(f"/tmp/continuous-training-test-port.{os.getuid()}").open("a+") as file:  # noqa: S108
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = int(file.read() or PORTS.start)
        while True:
            port = port + 1 if port + 1 in PORTS else PORTS.start
            with socket.socket() as listener, suppress(OSError):
                listener.bind(("127.0.0.1", port))
                break
        file.truncate(0)
        file.write(str(port))
    return port


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
