"""Commands whose address belongs to another program, for example because its port was already in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines import history, upload


class ImageRegistry(BaseHTTPRequestHandler):
    """Responds like an image registry, which uses port 5000 as MLflow does."""

    server_version = "registry"

    def respond(self) -> None:
        body = b'{"errors": [{"code": "NOT_FOUND"}]}'
        self.send_response(404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = respond  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class WebPage(SimpleHTTPRequestHandler):
    """Responds with a web page to every request, as a single-page application does."""

    def do_GET(self) -> None:
        self.path = "/index.html"
        super().do_GET()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(params=["registry", "SimpleHTTP"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of another program, and the name that it sends."""
    (tmp_path / "index.html").write_text("<html>another program</html>")
    handler = ImageRegistry if request.param == "registry" else partial(WebPage, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", request.param
        server.shutdown()


def test_kubeflow_pipelines(other: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    url, name = other
    assert upload.main(["--workload", "digits", "--registry", "registry.example/ct", "--host", url]) == 2
    error = capsys.readouterr().err
    assert f"the server at {url} is not Kubeflow Pipelines" in error
    assert f"(Server: {name}" in error


def test_the_registry(
    other: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, name = other
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("CT_STATE", str(tmp_path / "state"))
    assert history.main(["--workload", "digits"]) == 2
    error = capsys.readouterr().err
    assert f"the server at {url} is not MLflow" in error
    assert f"(Server: {name}" in error
