"""Headers that clients write in unusual ways, and invalid Host headers (RFC 9112, section 3.2)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from foreground import Server, serving
from PIL import Image
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process.client import ServerClient
from tests.attacks.exchange import exchange, statuses
from tests.attacks.protocol_faults import HEADER_VALUES, HOSTS, NULLS, UNREGISTERED_TYPES


@pytest.fixture(scope="module", params=[(), ("--no-fast-path",)], ids=["fast path", "no fast path"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_archive(tmp_path_factory.mktemp("toy")), options=request.param) as server:
        yield server


@pytest.mark.parametrize("name", HOSTS)
def test_a_request_without_exactly_one_valid_host_is_rejected(server: Server, name: str) -> None:
    """The response is the only one, and the connection is closed."""
    assert HOSTS[name].problem(server.port) == ""


@pytest.mark.parametrize("name", HEADER_VALUES)
def test_header_values_are_read_without_case_and_spaces(server: Server, name: str) -> None:
    assert HEADER_VALUES[name].problem(server.port) == ""


def test_the_management_port_checks_the_host(endpoint: ServerClient) -> None:
    head = b"POST /v2/repository/index HTTP/1.1\r\nContent-Length: 0\r\n"
    token = f"Authorization: Bearer {endpoint.running.token}\r\n".encode()
    port = endpoint.running.management_port
    assert statuses(exchange(port, head + token + b"\r\n")) == [400]
    assert statuses(exchange(port, head + token + b"Host: x\r\nConnection: close\r\n\r\n")) == [200]


@pytest.mark.parametrize("name", NULLS)
def test_null_in_a_v2_request_means_absent(server: Server, name: str) -> None:
    response = requests.post(f"{server.url}/v2/models/toy/infer", json=NULLS[name], timeout=10)
    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["data"] == [2]
    assert "id" not in response.json()


def test_null_parameters_of_a_load_mean_absent(endpoint: ServerClient, tmp_path: Path) -> None:
    toy = make_archive(tmp_path)
    endpoint.load("toy", toy.path, toy.digest)
    running = endpoint.running
    response = requests.post(
        f"http://127.0.0.1:{running.management_port}/v2/repository/models/toy/load",
        json={"parameters": None},
        headers={"Authorization": f"Bearer {running.token}"},
        timeout=20,
    )
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("media_type", "file_format"), UNREGISTERED_TYPES)
def test_unregistered_names_of_image_types_are_accepted(
    gallery: str, archives: dict[str, Archive], media_type: str, file_format: str
) -> None:
    pixels = np.full((40, 40), 255, np.uint8)
    pixels[5:35, 18:22] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    headers = {"Content-Type": media_type.strip()}
    response = requests.post(f"{gallery}/predict/digits", data=buffer.getvalue(), headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["label"] == 1
