"""Look up images in a container registry over HTTP: with and without a token, and with errors."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from continuous_training.adapters.image_registry import Reference, is_there
from continuous_training.core.errors import TransientError, UserError

DIGEST = "sha256:" + "ab" * 32
MANIFESTS = {f"/v2/ct/train/manifests/{version}" for version in ("abc", DIGEST)}


@contextmanager
def registry(token="", credentials=False, unavailable=False):
    """Serve a registry with one image.

    With `token`, the registry requires this token and returns it to every client.
    With `credentials`, it requires a password. With `unavailable`, it answers 503.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            if unavailable:
                return self.respond(503)
            if credentials:
                return self.respond(401, {"www-authenticate": 'Basic realm="private"'})
            if token and self.headers["authorization"] != f"Bearer {token}":
                realm = f'Bearer realm="{url}/token",service="registry",scope="repository:ct/train:pull"'
                return self.respond(401, {"www-authenticate": realm})
            accepted = "application/vnd.oci.image.index.v1+json" in self.headers["accept"]
            return self.respond(200 if accepted and self.path in MANIFESTS else 404)

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            assert query == {"service": ["registry"], "scope": ["repository:ct/train:pull"]}
            self.respond(200, body=json.dumps({"token": token}).encode())

        def respond(self, status, headers=None, body=b""):
            self.send_response(status)
            for name, value in ({"content-length": str(len(body))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = f"127.0.0.1:{server.server_port}"
    url = f"http://{host}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("localhost:5000/a/b:dev", "http://localhost:5000/v2/a/b/manifests/dev"),
        ("[::1]:5000/a", "http://[::1]:5000/v2/a/manifests/latest"),
        ("reg.example/ct/train", "https://reg.example/v2/ct/train/manifests/latest"),
        (f"reg.example:5000/a:t@{DIGEST}", f"https://reg.example:5000/v2/a/manifests/{DIGEST}"),
        ("python:3.11", "https://registry-1.docker.io/v2/library/python/manifests/3.11"),
        ("grafana/loki:3", "https://registry-1.docker.io/v2/grafana/loki/manifests/3"),
    ],
)
def test_an_image_name_is_parsed_as_docker_does(image, url):
    assert Reference.parse(image).url == url


@pytest.mark.parametrize("image", ["", "a@b", "a:b:c@", "reg/a@sha256:xyz"])
def test_an_invalid_image_name_raises_a_user_error(image):
    with pytest.raises(UserError, match="is not an image"):
        is_there(image)


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize(
    ("version", "exists"), [(":abc", True), (f"@{DIGEST}", True), (":other", False), ("", False)]
)
def test_an_image_is_looked_up_by_tag_and_by_digest(token, version, exists):
    with registry(token) as host:
        assert is_there(f"{host}/ct/train{version}") is exists


def test_a_registry_that_requires_credentials_raises_a_user_error():
    with registry(credentials=True) as host, pytest.raises(UserError, match="requires credentials"):
        is_there(f"{host}/ct/train:abc")


def test_an_unavailable_registry_raises_a_transient_error():
    with registry(unavailable=True) as host, pytest.raises(TransientError, match="HTTP 503"):
        is_there(f"{host}/ct/train:abc")
    with pytest.raises(TransientError, match=r"cannot be reached: .*refused"):
        is_there(f"{host}/ct/train:abc")
