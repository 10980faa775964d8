"""Metrics, logs and request ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from foreground import serving
from prometheus_samples import scrape, value
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.logs import rotate
from continuous_training.serving.process.state_files import RunningServer


def predict(url: str, body: bytes, name: str = "toy") -> requests.Response:
    return requests.post(f"{url}/predict/{name}", data=body, timeout=5)


def test_requests_batches_errors_and_versions_are_counted(endpoint: ServerClient, tmp_path: Path) -> None:
    stable, failing = make_archive(tmp_path), make_archive(tmp_path, scale=3, fails_after=2)
    url = endpoint.running.url
    endpoint.load("toy", stable.path, stable.digest)
    for body, status in ((b'{"x": [1]}', 200), (b'{"x": [2]}', 200), (b"{", 400), (b'{"x": [-1]}', 500)):
        assert predict(url, body).status_code == status
    for number in range(5):
        assert predict(url, b"{}", name=f"unknown-{number}").status_code == 404
    endpoint.load("toy", failing.path, failing.digest, 60)
    predict(url, b'{"x": [1]}')
    samples = scrape(url)
    for status, count in (("200", 3), ("400", 1), ("500", 1)):
        labels = {"model": "toy", "route": "predict", "status": status}
        assert value(samples, "serving_requests_total", **labels) == count
    assert value(samples, "serving_request_seconds_count", model="toy", route="predict") == 5
    assert value(samples, "serving_errors_total", model="toy", kind="request") == 1
    assert value(samples, "serving_errors_total", model="toy", kind="handler") == 1
    # Requests for unknown models are counted without their name, so that clients cannot create labels.
    assert value(samples, "serving_errors_total", model="", kind="not_served") == 5
    assert value(samples, "serving_batch_requests_count", model="toy") == 5
    assert value(samples, "serving_batch_seconds_count", model="toy") == 5
    assert value(samples, "serving_queue_requests") == value(samples, "serving_held_bytes") == 0
    assert value(samples, "serving_shielded_total", model="toy", version=failing.version) == 1
    assert value(samples, "serving_models_unavailable") == 0
    served = {"model": "toy", "version": failing.version, "digest": failing.digest, "phase": "probation"}
    previous = {"model": "toy", "version": stable.version, "digest": stable.digest, "phase": "former"}
    assert value(samples, "serving_model", **served) == value(samples, "serving_model", **previous) == 1
    assert value(samples, "process_resident_memory_bytes") > 1e6


def test_a_request_id_is_returned_or_generated(running: RunningServer) -> None:
    def request_id(**headers: str) -> str:
        return requests.get(f"{running.url}/v2", headers=headers, timeout=5).headers["x-request-id"]

    assert request_id(**{"x-request-id": "mine-1/2:3"}) == "mine-1/2:3"
    invalid = [{"x-request-id": "not <safe>"}, {"x-request-id": "a" * 200}]
    generated = {request_id(), request_id(), *(request_id(**headers) for headers in invalid)}
    assert len(generated) == 4
    assert all(text.isascii() and len(text) < 40 for text in generated)
    missing = requests.get(f"{running.url}/nothing", headers={"x-request-id": "missing"}, timeout=5)
    assert (missing.status_code, missing.headers["x-request-id"]) == (404, "missing")


@pytest.fixture
def toy(tmp_path: Path) -> Archive:
    return make_archive(tmp_path)


def test_a_failure_is_logged_with_its_request_id(tmp_path: Path, toy: Archive) -> None:
    log = tmp_path / "log"
    with serving(toy, log=log) as server:
        response = requests.post(
            f"{server.url}/predict/toy", json={"x": [-1]}, headers={"x-request-id": "failure"}, timeout=5
        )
        predict(server.url, b"{")
    assert response.json()["request_id"] == response.headers["x-request-id"] == "failure"
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["level"], line["request_id"], line["model"]) == ("error", "failure", "toy")
    assert "NaN" in line["message"]
    assert "EncodingError" in line["traceback"]
    assert line["time"].endswith("+00:00")


def test_requests_are_logged_with_access_log(tmp_path: Path, toy: Archive) -> None:
    log = tmp_path / "log"
    with serving(toy, options=("--access-log", "--log-level", "info"), log=log) as server:
        predict(server.url, b'{"x": [1]}')
        predict(server.url, b"\xff")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    success, failure = (line for line in lines if line["logger"] == "serving.access")
    assert (success["status"], success["path"], success["model"]) == (200, "/predict/toy", "toy")
    assert (success["version"], success["method"]) == (toy.version, "POST")
    assert success["ms"] > 0
    assert success["client"] == "127.0.0.1"
    assert (failure["status"], failure["version"]) == (400, "")
    assert {line["logger"] for line in lines} >= {"continuous_training.serving.models.versions"}


def test_a_rotated_log_stays_open_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    assert not rotate(path, 10)
    with path.open("ab", buffering=0) as log:
        log.write(b"0123456789")
        assert not rotate(path, 10)
        log.write(b"x")
        assert rotate(path, 10)
        assert path.stat().st_size == 0
        log.write(b"more")
    assert path.read_bytes() == b"more"
    assert (tmp_path / "server.log.1").read_bytes() == b"0123456789x"


def test_the_servers_log_is_json_lines_and_is_rotated(
    state: Path, endpoint: ServerClient, toy: Archive
) -> None:
    import time

    endpoint.load("toy", toy.path, toy.digest)
    log = state / "serving/server.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line["message"] == f"toy {toy.version}: serving" for line in lines)
    with log.open("ab") as stream:
        stream.write(b"x" * (10 * 1024**2 + 1))
    deadline = time.monotonic() + 10
    while log.stat().st_size and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.stat().st_size == 0
    assert log.with_name("server.log.1").stat().st_size > 10 * 1024**2
    predict(endpoint.running.url, b'{"x": [-1]}')
    (line,) = map(json.loads, log.read_text().splitlines())
    assert line["level"] == "error"
