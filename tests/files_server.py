"""A web server for one or more files, with protocol faults that a test configures."""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "rows.csv.gz"


@dataclass
class Files:
    """The configuration of the server. A test can change it while the server runs.

    `cuts`: for each following response, the number of bytes before the connection closes (None: all bytes).
    `statuses`: the status of each following response (0: the correct status).
    `requests`: path and headers of the received requests.
    `other_files`: additional files by path.
    """

    content: bytes
    url: str = ""
    etag: str = '"one"'
    ranges: bool = True
    length: bool = True
    chunked: bool = False
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    other_files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    present: set[str] = field(default_factory=lambda: {f"/data/{NAME}"})
    requests: list[dict[str, str]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Ignore a client that disconnected."""


def server_context(folder: Path) -> ssl.SSLContext:
    """Create a certificate for 127.0.0.1 in `folder/cert.pem`, and return a TLS context with it."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def _chunks(body: bytes, is_complete: bool) -> bytes:
    """Return the body in two chunks, and the last chunk, which is empty, if the body is complete."""
    parts = (body[: len(body) // 2], body[len(body) // 2 :])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return chunks + (b"0\r\n\r\n" if is_complete else b"")


@contextmanager
def serve(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Files]:
    """Serve `content` on 127.0.0.1 as /data/rows.csv.gz in the `with` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.requests.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            files.before()
            status = files.statuses.pop(0) if files.statuses else 0
            if status or self.path not in files.present | files.other_files.keys():
                self._head(status or 404, b"")
            elif files.etag and self.headers.get("If-None-Match") == files.etag:
                self._head(304, b"")
            else:
                self._send()

        def _send(self) -> None:
            begin, status, extra = 0, 200, {}
            content = files.other_files.get(self.path, files.content)
            byte_range = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if byte_range and files.ranges and self.headers.get("If-Range", files.etag) == files.etag:
                begin, status = int(byte_range[1]), 206
                extra = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
            body = content[begin:]
            self._head(status, body, **extra)
            cut = files.cuts.pop(0) if files.cuts else None
            self.wfile.write(_chunks(body[:cut], cut is None) if files.chunked else body[:cut])
            if cut is not None or not files.length:
                self.close_connection = True

        def _head(self, status: int, body: bytes, **extra: str) -> None:
            self.send_response(status)
            if files.chunked and body:
                self.send_header("Transfer-Encoding", "chunked")
            elif files.length:
                self.send_header("Content-Length", str(len(body)))
            if files.etag and status < 400:
                self.send_header("ETag", files.etag)
            for name, value in {**files.headers, **extra}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Do not log."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    files = Files(content, f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/data")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
