"""The V1 protocol of KServe over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("toy"), fails_on=13.0)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, toy: Archive) -> Iterator[str]:
    state = tmp_path_factory.mktemp("state")
    endpoint = ServerClient(daemon.start(state, 0))
    endpoint.load("toy", toy.path, toy.digest)
    yield endpoint.running.url
    daemon.stop(state)


def predict(url: str, content: Any, name: str = "toy") -> requests.Response:
    return requests.post(f"{url}/v1/models/{name}:predict", json=content, timeout=10)


def test_each_instance_has_a_prediction_in_order(url: str, toy: Archive) -> None:
    instances = [{"x": [float(number)] * (1 + number % 3)} for number in range(100, 356)]
    response = predict(url, {"instances": instances, "parameters": {}})
    assert response.status_code == 200
    expected = [{"scale": 2, "y": [2 * x for x in instance["x"]]} for instance in instances]
    assert response.json() == {"predictions": expected}
    assert response.headers["x-model-digest"] == toy.digest


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"instances": []}, 400, "at least one request in the format of /predict/toy"),
        ({"x": [1.0]}, 400, '{"instances": [REQUEST, ...]}'),
        ([1], 400, '{"instances": [REQUEST, ...]}'),
        ({"instances": {"x": [1.0]}}, 400, '{"instances": [REQUEST, ...]}'),
        ({"instances": [{"x": [1.0]}] * 257}, 400, "at most 256"),
        ({"instances": [{"x": [1.0]}, {"x": "no"}]}, 400, "instances[1]: "),
        ({"instances": [{"x": [1.0]}, {"x": [13.0]}]}, 500, ""),
    ],
)
def test_an_invalid_or_failing_instance_fails_the_request(
    url: str, content: Any, status: int, message: str
) -> None:
    response = predict(url, content)
    assert response.status_code == status
    assert message in response.json()["error"]


def test_names_and_readiness_of_the_models(url: str) -> None:
    assert requests.get(f"{url}/v1/models", timeout=5).json() == {"models": ["toy"]}
    assert requests.get(f"{url}/v1/models/toy", timeout=5).json() == {"name": "toy", "ready": True}
    for response in (
        requests.get(f"{url}/v1/models/none", timeout=5),
        predict(url, {"instances": [1]}, "none"),
    ):
        assert response.status_code == 404
        assert "the served models are: toy" in response.json()["error"]
    response = requests.get(f"{url}/v1/models/toy:predict", timeout=5)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert requests.post(f"{url}/v1/models/toy:explain", json={}, timeout=5).status_code == 405
