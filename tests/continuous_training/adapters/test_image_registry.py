"""Whether an image is in its registry: over HTTP, with and without a token, and what cannot be told."""

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
def registry(token="", credentials=False, broken=False):
    """A registry with one image; `token`: it wants this one, and gives it to everybody who asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            if broken:
                return self.say(503)
            if credentials:
                return self.say(401, {"www-authenticate": 'Basic realm="private"'})
            if token and self.headers["authorization"] != f"Bearer {token}":
                realm = f'Bearer realm="{url}/token",service="registry",scope="repository:ct/train:pull"'
                return self.say(401, {"www-authenticate": realm})
            accepted = "application/vnd.oci.image.index.v1+json" in self.headers["accept"]
            return self.say(200 if accepted and self.path in MANIFESTS else 404)

        def do_GET(self):
            asked = parse_qs(urlsplit(self.path).query)
            assert asked == {"service": ["registry"], "scope": ["repository:ct/train:pull"]}
            self.say(200, body=json.dumps({"token": token}).encode())

        def say(self, status, headers=None, body=b""):
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
def test_a_name_is_taken_apart_as_docker_does(image, url):
    assert Reference.parse(image).url == url


@pytest.mark.parametrize("image", ["", "a@b", "a:b:c@", "reg/a@sha256:xyz"])
def test_what_is_no_name_is_refused(image):
    with pytest.raises(UserError, match="is not an image"):
        is_there(image)


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize(
    ("version", "there"), [(":abc", True), (f"@{DIGEST}", True), (":other", False), ("", False)]
)
def test_the_registry_tells_by_tag_and_by_digest(token, version, there):
    with registry(token) as host:
        assert is_there(f"{host}/ct/train{version}") is there


def test_a_registry_that_wants_credentials_does_not_tell():
    with registry(credentials=True) as host, pytest.raises(UserError, match="requires credentials"):
        is_there(f"{host}/ct/train:abc")


def test_a_registry_that_is_away_or_broken_does_not_tell():
    with registry(broken=True) as host, pytest.raises(TransientError, match="HTTP 503"):
        is_there(f"{host}/ct/train:abc")
    with pytest.raises(TransientError, match=r"cannot be reached: .*refused"):
        is_there(f"{host}/ct/train:abc")
