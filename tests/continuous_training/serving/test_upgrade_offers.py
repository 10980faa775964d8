"""Requests that offer an upgrade to another protocol are answered as HTTP/1.1 (RFC 9110, section 7.8)."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreground import Server, serving
from toy_models import make_archive

HTTP2_SETTINGS = "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"
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


def head(*lines: str, method: str = "POST", path: str = "/predict/toy", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *lines, "", ""]).encode()


def offer(protocol: str, *lines: str, connection: str = "Upgrade, HTTP2-Settings") -> tuple[str, ...]:
    return (f"Connection: {connection}", f"Upgrade: {protocol}", HTTP2_SETTINGS, *lines)


def closing_request(number: int) -> bytes:
    body = b'{"x":[%d]}' % number
    return head("Connection: close", f"Content-Length: {len(body)}") + body


def exchange(server: Server, *packets: bytes) -> bytes:
    """Send the packets with pauses, and return everything that is received until the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            raw.sendall(packet)
            time.sleep(0.05)
        return raw.makefile("rb").read()


def statuses_and_values(received: bytes) -> tuple[list[bytes], list[bytes]]:
    return re.findall(rb"HTTP/1.1 (\d+)", received), re.findall(rb'"y":\[([0-9.]+)\]', received)


BODY = b'{"x":[1]}'
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b'4\r\n{"x"\r\n5\r\n:[1]}\r\n0\r\n\r\n'


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "WebSocket, h2c", "TLS/1.0, HTTP/1.1", "x"])
@pytest.mark.parametrize("packets", [1, 2, 3])
@pytest.mark.parametrize(("framing", "body"), [(LENGTH, BODY), (CHUNKED, CHUNKS)])
def test_an_offered_upgrade_is_ignored(
    server: Server, protocol: str, packets: int, framing: str, body: bytes
) -> None:
    """The request gets one response, and the next request of the connection gets its own."""
    request = head(*offer(protocol, framing))
    parts = {1: [request + body], 2: [request, body], 3: [request[:60], request[60:] + body[:3], body[3:]]}
    received = exchange(server, *parts[packets], closing_request(2))
    assert statuses_and_values(received) == ([b"200", b"200"], [b"2.0", b"4.0"])
    assert b"101" not in received.split(b"\r\n")[0]


def test_pipelined_requests_with_offers_are_answered_in_order(server: Server) -> None:
    request = head(*offer("h2c", LENGTH))
    pipelined = b"".join(request + b'{"x":[%d]}' % number for number in range(1, 9)) + closing_request(9)
    statuses, values = statuses_and_values(exchange(server, pipelined))
    assert statuses == [b"200"] * 9
    assert values == [b"%.1f" % (2 * number) for number in range(1, 10)]


def test_an_offer_with_connection_close_is_answered_and_closed(server: Server) -> None:
    for connection in ("close, Upgrade", "Upgrade, close"):
        received = exchange(server, head(*offer("h2c", LENGTH, connection=connection)) + BODY)
        assert statuses_and_values(received) == ([b"200"], [b"2.0"])
        assert b"connection: close" in received


def test_an_offer_in_http_1_0_is_ignored(server: Server) -> None:
    received = exchange(server, head(*offer("h2c", LENGTH), version="1.0") + BODY)
    assert statuses_and_values(received) == ([b"200"], [b"2.0"])


def test_an_offer_that_waits_for_100_continue_is_answered(server: Server) -> None:
    request = head(*offer("h2c", LENGTH, "Expect: 100-continue"))
    received = exchange(server, request, BODY, closing_request(2))
    assert statuses_and_values(received) == ([b"100", b"200", b"200"], [b"2.0", b"4.0"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v2/health/live", b"200"), ("GET", "/none", b"404"), ("GET", "/predict/toy", b"405")],
)
def test_requests_without_a_body_are_answered(server: Server, method: str, path: str, status: bytes) -> None:
    request = head(*offer("websocket", "Sec-WebSocket-Version: 13"), method=method, path=path)
    received = exchange(server, request, closing_request(1))
    assert statuses_and_values(received) == ([status, b"200"], [b"2.0"])


def test_an_invalid_body_after_an_offer_gets_one_error(server: Server) -> None:
    received = exchange(server, head(*offer("h2c", "Content-Length: 1")) + b"{", closing_request(1))
    assert statuses_and_values(received) == ([b"400", b"200"], [b"2.0"])


def test_connect_is_rejected_once(server: Server) -> None:
    received = exchange(server, head("Connection: close", method="CONNECT", path="x:443"))
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
