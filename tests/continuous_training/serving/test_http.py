"""Responses and error messages of the public port and the management port over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, toy: Archive) -> Iterator[ServerClient]:
    state = tmp_path_factory.mktemp("state")
    endpoint = ServerClient(daemon.start(state, 0))
    endpoint.load("toy", toy.path, toy.digest)
    yield endpoint
    daemon.stop(state)


@pytest.fixture(scope="module")
def url(server: ServerClient) -> str:
    return server.running.url


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2.5], **changes}


def test_predict_returns_the_prediction_and_the_version(url: str, toy: Archive) -> None:
    for path in ("/predict/toy", "/predict", "/predict/toy/"):
        response = requests.post(url + path, data=b'{"x": [1, 2.5]}', timeout=5)
        assert (response.status_code, response.json()) == (200, {"scale": 2, "y": [2.0, 5.0]})
        assert response.headers["x-model-digest"] == toy.digest
        assert response.headers["x-model-version"] == toy.digest[:12]
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"x": [NaN]}', "not valid JSON"),
        (b'"\\ud800"', "not valid JSON"),
        (b'{"x": ' + b"[" * 60_000, "not valid JSON"),
        (b"null", 'send {"x": [numbers]}'),
        (b'{"y": "\\u0000"}', 'send {"x": [numbers]}'),
        (b'{"x": ["a"]}', "could not convert string"),
    ],
)
def test_predict_rejects_invalid_requests(url: str, body: bytes, message: str) -> None:
    response = requests.post(f"{url}/predict/toy", data=body, timeout=5)
    assert response.status_code == 400
    assert message in response.json()["error"]


@pytest.mark.parametrize("depth", [100, 900])
def test_deep_nesting_is_rejected(url: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for path, body in (
        ("/predict/toy", f'{{"x": {deep}}}'),
        ("/v2/models/toy/infer", json.dumps({"inputs": [tensor()]}).replace("[1, 2.5]", deep)),
    ):
        assert requests.post(url + path, data=body, timeout=5).status_code == 400


def test_body_over_the_limit_is_413_with_and_without_content_length(url: str) -> None:
    large = b" " * (8 * 1024**2 + 1)
    with_length = requests.post(f"{url}/predict/toy", data=large, timeout=10)
    chunked = requests.post(f"{url}/predict/toy", data=iter([large[:4_000_000], large]), timeout=10)
    for response in (with_length, chunked):
        assert response.status_code == 413
        assert "larger than 8388608 bytes" in response.json()["error"]
    assert requests.post(f"{url}/predict/toy", data=large[:-1], timeout=10).status_code == 400


def test_nan_in_a_prediction_is_500_with_a_request_id(url: str, server: ServerClient) -> None:
    for path, body in (
        ("/predict/toy", {"x": [1, -1]}),
        ("/v2/models/toy/infer", {"inputs": [tensor(data=[1, -1])]}),
    ):
        response = requests.post(url + path, json=body, timeout=5)
        assert response.status_code == 500
        assert "is NaN or infinite" in response.json()["error"]
        assert response.headers["x-request-id"] == response.json()["request_id"]
    assert server.predict("toy", {"x": [1]})["y"] == [2.0]


def test_unknown_models_versions_and_paths_are_404(url: str) -> None:
    for method, path, message in (
        ("POST", "/predict/none", "the served models are: toy"),
        ("GET", "/v2/models/none", "the served models are: toy"),
        ("GET", "/v2/models/toy/versions/123", "no version '123'"),
        ("POST", "/v2/models/none/infer", "the served models are: toy"),
        ("GET", "/v2/models/toy/other", "GET / lists"),
        ("GET", "/nowhere/%ff%00%0a", "GET / lists"),
        ("POST", "/v2/repository/index", "nothing at"),
    ):
        response = requests.request(method, url + path, data=b"{}", timeout=5)
        assert response.status_code == 404, path
        assert message in response.json()["error"]
    versioned = requests.post(f"{url}/v2/models/toy/versions/0/infer", json={"inputs": [tensor()]}, timeout=5)
    assert versioned.status_code == 404


def test_wrong_method_is_405_with_the_allowed_methods(url: str) -> None:
    assert requests.get(f"{url}/predict/toy", timeout=5).headers["allow"] == "POST"
    assert requests.put(f"{url}/v2/models/toy/infer", timeout=5).status_code == 405
    response = requests.delete(f"{url}/v2/models/toy", timeout=5)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


def test_metadata_health_and_index(url: str, toy: Archive) -> None:
    version = toy.digest[:12]
    metadata = {
        "name": "toy",
        "versions": [version],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }
    for path, expected in {
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True, "unavailable": {}},
        "/v2/models/toy": metadata,
        f"/v2/models/toy/versions/{version}": metadata,
        "/v2/models/toy/ready": {"name": "toy", "ready": True},
        f"/v2/models/toy/versions/{version}/ready": {"name": "toy", "ready": True},
    }.items():
        response = requests.get(url + path, timeout=5)
        assert (response.status_code, response.json()) == (200, expected)
    assert set(requests.get(f"{url}/v2", timeout=5).json()) == {"name", "version", "extensions"}
    (model,) = requests.get(f"{url}/v2/models", timeout=5).json()["models"]
    (index_entry,) = requests.get(url, timeout=5).json()["models"]
    assert index_entry["predict"] == "/predict/toy"
    assert model == {"name": "toy", "version": version, "digest": toy.digest, "phase": "serving"}
    assert requests.head(url, timeout=5).text == ""


@pytest.mark.parametrize(
    "changes",
    [{}, {"data": [[1, 2.5]], "shape": [2]}, {"parameters": {"any": 1}}, {"shape": [2], "data": [1, 2.5]}],
)
def test_infer_returns_tensors(url: str, toy: Archive, changes: dict[str, Any]) -> None:
    input_tensor = tensor(**changes)
    if input_tensor["data"] == [[1, 2.5]]:
        input_tensor["data"] = input_tensor["data"][0]
    body = {"id": "mine", "parameters": {"p": 1}, "inputs": [input_tensor], "outputs": [{"name": "y"}]}
    for path in ("/v2/models/toy/infer", f"/v2/models/toy/versions/{toy.digest[:12]}/infer"):
        response = requests.post(url + path, json=body, timeout=5)
        assert response.status_code == 200, response.text
        assert response.json() == {
            "model_name": "toy",
            "model_version": toy.digest[:12],
            "id": "mine",
            "outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [2.0, 5.0]}],
        }


INVALID = {
    "no object": ([], "must be a JSON object"),
    "no inputs": ({}, '"inputs" must be a list'),
    "inputs no tensors": ({"inputs": [1]}, '"inputs" must be a list'),
    "unknown input": ({"inputs": [tensor(name="z")]}, "takes exactly ['x']"),
    "unhashable name": ({"inputs": [tensor(name=[])]}, "takes exactly ['x']"),
    "doubled input": ({"inputs": [tensor(), tensor()]}, "takes exactly ['x']"),
    "no input": ({"inputs": []}, "takes exactly ['x']"),
    "datatype": ({"inputs": [tensor(datatype="FP64")]}, "must be 'FP32'"),
    "shape rank": ({"inputs": [tensor(shape=[1, 2])]}, "must be [-1]"),
    "shape no list": ({"inputs": [tensor(shape=2)]}, "list of integers"),
    "shape of bools": ({"inputs": [tensor(shape=[True])]}, "list of integers"),
    "negative shape": ({"inputs": [tensor(shape=[-2])]}, "list of integers"),
    "no rows": ({"inputs": [tensor(shape=[0], data=[])]}, "has no rows"),
    "too few": ({"inputs": [tensor(shape=[3])]}, "the shape of data is [2], and shape is [3]"),
    "no data": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, 'must have either "data"'),
    "data no list": ({"inputs": [tensor(data="ab")]}, "data must be a list"),
    "ragged": ({"inputs": [tensor(data=[[1, 2], [3]])]}, "ragged"),
    "half nested": ({"inputs": [tensor(data=[[1], 2])]}, "ragged"),
    "texts": ({"inputs": [tensor(data=["1", "2"])]}, "must contain only numbers"),
    "bools": ({"inputs": [tensor(data=[True, 1])]}, "must contain only numbers"),
    "null": ({"inputs": [tensor(data=[None, 1])]}, "must contain only numbers"),
    "too large": ({"inputs": [tensor(data=[1e300, 1])]}, "out of the range of FP32"),
    "id": ({"inputs": [tensor()], "id": 1}, '"id" must be a string'),
    "parameters": ({"inputs": [tensor()], "parameters": []}, '"parameters" must be an object'),
    "outputs": ({"inputs": [tensor()], "outputs": ["y"]}, '"outputs" must be a list of objects'),
    "unknown output": ({"inputs": [tensor()], "outputs": [{"name": "z"}]}, "no output 'z'"),
}


@pytest.mark.parametrize("case", INVALID)
def test_infer_rejects_invalid_requests(url: str, case: str) -> None:
    body, message = INVALID[case]
    response = requests.post(f"{url}/v2/models/toy/infer", json=body, timeout=5)
    assert response.status_code == 400
    assert message in response.json()["error"]


def test_disconnect_during_a_request_does_not_affect_other_requests(url: str, server: ServerClient) -> None:
    with socket.create_connection(("127.0.0.1", server.running.port)) as raw:
        raw.sendall(b"POST /predict/toy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert server.predict("toy", {"x": [1]})["y"] == [2.0]


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer \xff", "bearer"])
def test_management_requires_the_token(server: ServerClient, authorization: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.running.management_port, timeout=5)
    connection.request("POST", "/v2/repository/index", headers={"authorization": authorization})
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize(
    ("path", "parameters", "status", "message"),
    [
        ("models/toy/load", {"archive": "relative.mar"}, 400, "absolute path"),
        ("models/toy/load", {"archive": "/nowhere.mar"}, 400, "64 hexadecimal"),
        (
            "models/toy/load",
            {"archive": "/nowhere.mar", "digest": "0" * 64},
            409,
            "no archive at /nowhere.mar",
        ),
        ("models/toy/load", {"archive": "/x", "digest": "0" * 64, "confirm_within": 0}, 400, "above 0"),
        ("models/toy/load", {"archive": "/x", "digest": "0" * 64, "confirm_within": True}, 400, "above 0"),
        ("models/toy/confirm", {"digest": "0" * 64}, 409, "is not served"),
        ("models/none/unload", {}, 404, "to unload"),
        ("models/toy/explode", {}, 404, "nothing at"),
    ],
)
def test_management_rejects_invalid_requests(
    server: ServerClient, path: str, parameters: dict[str, Any], status: int, message: str
) -> None:
    response = requests.post(
        f"{server.running.management_url}/v2/repository/{path}",
        json={"parameters": parameters},
        headers={"authorization": f"Bearer {server.running.token}"},
        timeout=5,
    )
    assert response.status_code == status
    assert message in response.json()["error"]
    assert server.predict("toy", {"x": [1]})["y"] == [2.0]


def test_archive_of_another_model_is_rejected(server: ServerClient, tmp_path: Path) -> None:
    from continuous_training.serving.errors import VersionRejectedError

    other = make_archive(tmp_path, name="other")
    with pytest.raises(VersionRejectedError, match="contains the model 'other', and 'toy' was requested"):
        server.load("toy", other.path, other.digest)


def test_inputs_of_each_datatype() -> None:
    from continuous_training.artifacts.bundle import TensorSpec
    from continuous_training.serving.api.tensor_inputs import decode_inputs
    from continuous_training.serving.errors import RequestError

    def parse(datatype: str, data: list[Any]) -> Any:
        spec = TensorSpec("t", datatype, (-1, 2))
        tensor_ = {**spec.to_json(), "shape": [len(data), 2], "data": data}
        return decode_inputs([tensor_], [spec], memoryview(b""))["t"].tolist()

    assert parse("INT64", [[1, 2], [3, 2**62]]) == [[1, 2], [3, 2**62]]
    assert parse("BOOL", [[True, False]]) == [[True, False]]
    assert parse("BYTES", [["é", "\0"]]) == [["é", "\0"]]
    assert parse("UINT8", [[0, 255]]) == [[0, 255]]
    for datatype, data in (
        ("UINT8", [[0, 256]]),
        ("INT8", [[-129, 0]]),
        ("INT64", [[0, 2**63]]),
        ("INT32", [[1.0, 2]]),
    ):
        with pytest.raises(RequestError):
            parse(datatype, data)
