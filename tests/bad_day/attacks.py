"""The attacks on a model server, by the item of the requirements."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from continuous_training.serving.process.state_files import RunningServer
from tests.attacks.clients import Client
from tests.attacks.exchange import Exchange
from tests.attacks.floods import FLOODS, exchange_mixed_requests, flood
from tests.attacks.large_bodies import MANY_ROWS, MANY_VALUES, TOO_MANY_ROWS
from tests.attacks.metrics_formats import ACCEPT
from tests.attacks.protocol_faults import HEADER_VALUES, HOSTS, NULLS, UNREGISTERED_TYPES
from tests.attacks.tensors import INVALID_PIXELS, LEVELS, VALID_PIXELS, Post, big_endian, pixel_requests
from tests.attacks.upgrades import UPGRADES
from tests.picture_files import blank_files, drawing, lossless_forms, low_depth_forms

PATHS = (
    "/predict/toy",
    "/predict/diabetes?illustrate=true",
    "/v1/models/toy:predict",
    "/v2/models/toy/infer",
)
MEMORY_MIB = 100
CLIENTS = 24


@dataclass(frozen=True)
class Attack:
    """One attack. `problem` carries it out and describes a wrong response, with an empty text for none."""

    name: str
    problem: Callable[[RunningServer], str]


def upgrades() -> Iterator[Attack]:
    """Yield the attacks of item 1."""
    for name, exchange in UPGRADES.items():
        yield Attack(name, partial(_exchange, exchange))


def large_bodies() -> Iterator[Attack]:
    """Yield the attacks of item 3."""
    for path in PATHS:
        for name, (body, error) in MANY_VALUES.items():
            headers = {"content-type": "application/json"}
            yield Attack(f"{name}, {path}", partial(_send, Post(path, body, headers), 400, error))
    for path, body in MANY_ROWS.items():
        yield Attack(f"rows, {path}", partial(_send, Post(path, body), 400, TOO_MANY_ROWS))


def floods() -> Iterator[Attack]:
    """Yield the attacks of item 4."""
    for name, request in FLOODS.items():
        yield Attack(f"flood of {name}", partial(_flood, request))
    for seed in range(3):
        yield Attack(f"mixed requests {seed}", partial(_mixed_requests, seed))


def pictures() -> Iterator[Attack]:
    """Yield the attacks of item 6."""
    for seed in range(3):
        grey = drawing(seed, 200, 200)
        for forms in (lossless_forms(grey), *(low_depth_forms(grey, depth) for depth in (1, 2, 4))):
            for name, content in forms.items():
                yield Attack(f"picture {seed}, {name}", partial(_picture, content, forms["8 bits"]))
    for name, content in blank_files(8, 8).items():
        post = Post("/predict/digits", content, {"Content-Type": "image/png"})
        yield Attack(f"blank picture, {name}", partial(_send, post, 400, "the image is blank"))


def tensors() -> Iterator[Attack]:
    """Yield the attacks of item 7."""
    for pixels, status in ((INVALID_PIXELS, 400), (VALID_PIXELS, 200)):
        for pixel in pixels:
            for protocol, post in pixel_requests(pixel).items():
                yield Attack(f"pixel {pixel}, {protocol}", partial(_send, post, status, ""))
    for level in LEVELS:
        yield Attack(f"big-endian {level}", partial(_send, big_endian(level), 400, "little-endian"))


def protocol_faults() -> Iterator[Attack]:
    """Yield the attacks of item 8."""
    for name, exchange in {**HOSTS, **HEADER_VALUES}.items():
        yield Attack(name, partial(_exchange, exchange))
    for name, content in NULLS.items():
        yield Attack(f"null: {name}", partial(_null, content))
    for media_type, file_format in UNREGISTERED_TYPES:
        yield Attack(media_type, partial(_picture_type, media_type, file_format))
    for accept, content_type in ACCEPT:
        yield Attack(f"Accept: {accept}", partial(_metrics, accept, content_type))


ITEMS: dict[str, tuple[str, Callable[[], Iterator[Attack]]]] = {
    "item 1": ("offered upgrades", upgrades),
    "item 3": ("large bodies", large_bodies),
    "item 4": ("pipelined requests", floods),
    "item 6": ("pictures", pictures),
    "item 7": ("tensors", tensors),
    "item 8": ("protocol faults", protocol_faults),
}
"""The attacks on a server that serves the toy model, digits and diabetes, and their names."""


def lost_requests(port: int, terminate: Callable[[], object]) -> str:
    """End a server while clients send requests, and describe the requests without a response."""
    clients = [Client(port, keep_alive=number % 2 == 0) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    end = time.monotonic() + 30
    while sum(client.responses for client in clients) < 2 * CLIENTS and time.monotonic() < end:
        time.sleep(0.05)
    terminate()
    for client in clients:
        client.join()
    lost = sum((client.lost for client in clients), Counter())
    responses = sum(client.responses for client in clients)
    return f"lost: {dict(lost)} of {responses}" if lost or responses < 2 * CLIENTS else ""


def _exchange(exchange: Exchange, server: RunningServer) -> str:
    return exchange.problem(server.port)


def _post(server: RunningServer, path: str, **arguments: Any) -> requests.Response:
    return requests.post(f"{server.url}{path}", timeout=60, **arguments)


def _problem(response: requests.Response, status: int, text: str) -> str:
    correct = response.status_code == status and text in response.text
    return (
        "" if correct else f"expected {status} {text}, received {response.status_code} {response.text:.500}"
    )


def _send(post: Post, status: int, text: str, server: RunningServer) -> str:
    return _problem(_post(server, post.path, data=post.body, headers=post.headers), status, text)


def _mixed_requests(seed: int, server: RunningServer) -> str:
    return exchange_mixed_requests(server.port, seed)


def _flood(request: bytes, server: RunningServer) -> str:
    failed = 0

    def probe() -> None:
        nonlocal failed
        failed += not requests.get(f"{server.url}/v2/health/live", timeout=10).ok

    before = _resident_mib(server.pid)
    with flood(server.port, request, probe) as sent:
        growth = _resident_mib(server.pid) - before
    if failed or sent < 1_000_000 or growth >= MEMORY_MIB:
        return f"{sent} bytes were accepted, the memory grew by {growth} MiB, {failed} probes failed"
    return ""


def _resident_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def _picture(content: bytes, expected: bytes, server: RunningServer) -> str:
    """Compare the response to a form of a picture with that to its form with 8 bits."""
    forms = [_post(server, "/predict/digits", files={"image": file}) for file in (content, expected)]
    return _problem(forms[0], 200, forms[1].text)


def _null(content: Any, server: RunningServer) -> str:
    response = _post(server, "/v2/models/toy/infer", json=content)
    return _problem(response, 200, '"data":[2') or (
        "the response has an id" if "id" in response.json() else ""
    )


def _picture_type(media_type: str, file_format: str, server: RunningServer) -> str:
    """Send a picture of the digit 1."""
    pixels = np.full((40, 40), 255, np.uint8)
    pixels[5:35, 18:22] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    headers = {"Content-Type": media_type.strip()}
    response = _post(server, "/predict/digits", data=buffer.getvalue(), headers=headers)
    return _problem(response, 200, '"label":1')


def _metrics(accept: str | None, content_type: str, server: RunningServer) -> str:
    # None removes the default of the client.
    response = requests.get(f"{server.url}/metrics", headers={"Accept": accept}, timeout=60)
    received = response.headers["content-type"]
    return "" if received == content_type else f"expected {content_type}, received {received}"
