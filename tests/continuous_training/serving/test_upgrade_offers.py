"""Requests that offer an upgrade to another protocol are answered as HTTP/1.1 (RFC 9110, section 7.8)."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreground import Server, serving
from toy_models import make_archive

from tests.attacks.exchange import exchange, head
from tests.attacks.upgrades import UPGRADES

JAVA_CLIENT = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 1; number <= 3; number++) {
            String body = "{\\"x\\": [" + number + "]}";
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
            System.out.println(client.send(request, BodyHandlers.ofString()).body());
        }
    }
}
"""


@pytest.fixture(scope="module", params=[(), ("--no-fast-path",)], ids=["fast path", "no fast path"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy")), options=request.param) as server:
        yield server


@pytest.mark.parametrize("name", UPGRADES)
def test_an_offered_upgrade_is_ignored(server: Server, name: str) -> None:
    """The request gets one response, and the next request of the connection gets its own."""
    assert UPGRADES[name].problem(server.port) == ""


def test_connect_is_rejected_once(server: Server) -> None:
    received = exchange(server.port, head("Host: x", "Connection: close", method="CONNECT", path="x:443"))
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 4")


@pytest.mark.skipif(
    shutil.which("javac") is None, reason="needs the compiler of a JDK: apt-get install default-jdk"
)
def test_the_http_client_of_java(server: Server, tmp_path: Path) -> None:
    """`HttpClient` offers h2c. `test_an_offered_upgrade_is_ignored` sends the same bytes without Java."""
    source = tmp_path / "Client.java"
    source.write_text(JAVA_CLIENT)
    command = ["java", str(source), f"{server.url}/predict/toy"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert re.findall(r'"y":\[([0-9.]+)\]', run.stdout) == ["2.0", "4.0", "6.0"]


def supports_http2() -> bool:
    curl = shutil.which("curl")
    return curl is not None and b"HTTP2" in subprocess.run([curl, "--version"], capture_output=True).stdout


@pytest.mark.skipif(not supports_http2(), reason="needs curl with HTTP/2")
def test_curl_with_http2(server: Server) -> None:
    url = f"{server.url}/predict/toy"
    command = ["curl", "--silent", "--show-error", "--http2", "--data", '{"x": [1]}', url, url]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert re.findall(r'"y":\[([0-9.]+)\]', run.stdout) == ["2.0", "2.0"]
