"""The Open Inference Protocol, tested with Triton's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from echo_model import make_echo
from toy_models import make_archive

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES
from continuous_training.serving.api.tensor_inputs import decode_inputs
from continuous_training.serving.errors import RequestError
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient

triton: Any = pytest.importorskip("tritonclient.http")

SAMPLES: dict[str, list[list[Any]]] = {
    "BOOL": [[True, False], [False, False], [True, True]],
    "FP16": [[1.5, -2], [0, 65504], [1, 1]],
    "FP32": [[1.5, -2e30], [0, 1e-30], [3, 3]],
    "FP64": [[1.5, -2e300], [0, 1e-300], [3, 3]],
    "BYTES": [["", "é"], ["\0", "한국어"], ["a" * 1000, '"']],
    **{f"UINT{bits}": [[0, 2**bits - 1], [1, 2], [3, 4]] for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": [[-(2 ** (bits - 1)), 2 ** (bits - 1) - 1], [1, 2], [3, 4]] for bits in (8, 16, 32, 64)},
}


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, echo: Archive) -> Iterator[ServerClient]:
    state = tmp_path_factory.mktemp("state")
    endpoint = ServerClient(daemon.start(state, 0))
    endpoint.load("echo", echo.path, echo.digest)
    yield endpoint
    daemon.stop(state)


@pytest.fixture
def client(server: ServerClient) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.running.port}") as client:
        yield client


def array(datatype: str) -> np.ndarray:
    return np.array(SAMPLES[datatype], dtype=NUMPY_DTYPES[datatype])


def inputs(binary: bool) -> list[Any]:
    tensors = []
    for datatype in NUMPY_DTYPES:
        tensor = triton.InferInput(datatype, [3, 2], datatype)
        # Triton's client does not encode FP16 tensors as JSON.
        tensor.set_data_from_numpy(array(datatype), binary_data=binary or datatype == "FP16")
        tensors.append(tensor)
    return tensors


def is_echo(result: Any, datatype: str) -> bool:
    """Return whether an output equals the sample of its datatype."""
    output = result.as_numpy(f"{datatype}_echo")
    if datatype == "BYTES":
        strings = [item.decode() if isinstance(item, bytes) else item for item in output.ravel()]
        return bool(strings == [string for row in SAMPLES["BYTES"] for string in row])
    return bool(output.dtype == array(datatype).dtype and (output == array(datatype)).all())


def test_health_and_metadata(client: Any, echo: Archive) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", echo.version)
    assert not client.is_model_ready("none")
    assert not client.is_model_ready("echo", "2")
    server = client.get_server_metadata()
    assert set(server) == {"name", "version", "extensions"}
    assert server["extensions"] == ["binary_tensor_data"]
    for version in ("", echo.version):
        model = client.get_model_metadata("echo", version)
        assert (model["name"], model["versions"]) == ("echo", [echo.version])
        assert [tensor["datatype"] for tensor in model["inputs"]] == list(NUMPY_DTYPES)
        assert {tuple(tensor["shape"]) for tensor in model["inputs"] + model["outputs"]} == {(-1, 2)}
    with pytest.raises(triton.InferenceServerException, match="no model 'none'"):
        client.get_model_metadata("none")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_datatype_as_json_and_as_raw_data(
    client: Any, echo: Archive, binary_in: bool, binary_out: bool
) -> None:
    outputs = [triton.InferRequestedOutput(f"{name}_echo", binary_data=binary_out) for name in NUMPY_DTYPES]
    result = client.infer("echo", inputs(binary_in), outputs=outputs, request_id="mine")
    assert [name for name in NUMPY_DTYPES if not is_echo(result, name)] == []
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == ("echo", echo.version)
    assert response["id"] == "mine"
    assert all(("data" in output) != binary_out for output in response["outputs"])


def test_the_response_contains_only_the_requested_outputs(client: Any, echo: Archive) -> None:
    outputs = [
        triton.InferRequestedOutput("INT64_echo", binary_data=False),
        triton.InferRequestedOutput("BYTES_echo", binary_data=True),
        triton.InferRequestedOutput("FP32_echo", binary_data=True),
    ]
    result = client.infer("echo", inputs(True), outputs=outputs, model_version=echo.version)
    assert [output["name"] for output in result.get_response()["outputs"]] == [
        "INT64_echo",
        "BYTES_echo",
        "FP32_echo",
    ]
    assert all(is_echo(result, name) for name in ("INT64", "BYTES", "FP32"))
    assert result.as_numpy("FP64_echo") is None


def test_binary_data_output_applies_to_all_outputs(client: Any) -> None:
    # Without outputs, Triton's client sends the parameter binary_data_output.
    result = client.infer("echo", inputs(True))
    assert all("data" not in output for output in result.get_response()["outputs"])
    assert all(is_echo(result, name) for name in NUMPY_DTYPES)


def test_errors_have_messages(client: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match="takes exactly"):
        client.infer("echo", inputs(True)[:3])
    with pytest.raises(triton.InferenceServerException, match="no model 'none'"):
        client.infer("none", inputs(True))
    with pytest.raises(triton.InferenceServerException, match="no version '7'"):
        client.infer("echo", inputs(True), model_version="7")
    classes = [triton.InferRequestedOutput("FP32_echo", class_count=2)]
    with pytest.raises(triton.InferenceServerException, match="classification is not supported"):
        client.infer("echo", inputs(True), outputs=classes)
    with pytest.raises(triton.InferenceServerException, match="without content-encoding"):
        client.infer("echo", inputs(True), request_compression_algorithm="gzip")


def test_concurrent_requests(client: Any, server: ServerClient) -> None:
    address = f"127.0.0.1:{server.running.port}"
    with triton.InferenceServerClient(address, concurrency=8) as concurrent:
        pending = [concurrent.async_infer("echo", inputs(binary=bool(n % 2))) for n in range(40)]
        results = [request.get_result() for request in pending]
    assert all(is_echo(result, name) for result in results for name in NUMPY_DTYPES)


def test_the_management_port_loads_and_unloads_models_with_the_token(
    server: ServerClient, client: Any, tmp_path: Path, echo: Archive
) -> None:
    token = {"authorization": f"Bearer {server.running.token}"}
    with triton.InferenceServerClient(f"127.0.0.1:{server.running.management_port}") as manager:
        with pytest.raises(triton.InferenceServerException, match="Authorization"):
            manager.get_model_repository_index()
        (row,) = manager.get_model_repository_index(headers=token)
        assert (row["name"], row["version"], row["state"]) == ("echo", echo.version, "READY")
        with pytest.raises(triton.InferenceServerException, match="no archive of 'toy' is known"):
            manager.load_model("toy", headers=token)
        manager.load_model("echo", headers=token)
        toy = make_archive(tmp_path)
        server.load("toy", toy.path, toy.digest)
        assert client.is_model_ready("toy")
        manager.unload_model("toy", headers=token)
        assert not client.is_model_ready("toy")
        with pytest.raises(triton.InferenceServerException, match="no model 'toy' here to unload"):
            manager.unload_model("toy", headers=token)
    with pytest.raises(triton.InferenceServerException, match="nothing at"):
        client.load_model("echo")


def raw_request(content: dict[str, Any], raw: bytes = b"", length: int | str | None = None) -> dict[str, Any]:
    text = json.dumps(content).encode()
    headers = {"inference-header-content-length": str(len(text) if length is None else length)}
    return {"data": text + raw, "headers": headers}


@pytest.fixture(scope="module")
def toy_url(server: ServerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    toy = make_archive(tmp_path_factory.mktemp("toy"), name="binary")
    server.load("binary", toy.path, toy.digest)
    return f"{server.running.url}/v2/models/binary/infer"


def tensor(size: Any, shape: list[int], datatype: str = "FP32", **fields: Any) -> dict[str, Any]:
    raw_tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    return {"inputs": [{**raw_tensor, **fields}]}


TWO = np.array([1, 2.5], "<f4").tobytes()
NAN = np.array([1, np.nan], "<f4").tobytes()


def test_raw_tensors_without_a_client(toy_url: str) -> None:
    response = requests.post(toy_url, timeout=5, **raw_request(tensor(8, [2]), TWO))
    assert response.json()["outputs"] == [{"name": "y", "shape": [2], "datatype": "FP32", "data": [2.0, 5.0]}]
    binary = {**tensor(8, [2]), "parameters": {"binary_data_output": True}}
    response = requests.post(toy_url, timeout=5, **raw_request(binary, TWO))
    length = int(response.headers["inference-header-content-length"])
    assert response.headers["content-type"] == "application/octet-stream"
    (output,) = json.loads(response.content[:length])["outputs"]
    assert output == {"name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    assert np.frombuffer(response.content[length:], "<f4").tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (raw_request(tensor(8, [2]), TWO[:-1]), "binary_data_size is 8, and the body contains 7 bytes"),
        (raw_request(tensor(8, [2]), TWO + b"x"), "1 bytes follow the last raw tensor"),
        (raw_request(tensor(8, [3]), TWO), "has 12 raw bytes, and 8 were sent"),
        (raw_request(tensor(-1, [2]), TWO), "must be a number of bytes"),
        (raw_request(tensor(True, [2]), TWO), "must be a number of bytes"),
        (raw_request(tensor("8", [2]), TWO), "must be a number of bytes"),
        (raw_request(tensor(2**62, [2**31 - 1]), TWO), "binary_data_size is 4611686018427387904"),
        (raw_request(tensor(8, [2]), NAN), "contains NaN"),
        (raw_request(tensor(8, [2], data=[1, 2]), TWO), "and not both"),
        (raw_request(tensor(8, [2], parameters=[]), TWO), "parameters must be an object"),
        (raw_request(tensor(8, [2]), TWO, 10**6), "inference-header-content-length is 1000000"),
        (raw_request(tensor(8, [2]), TWO, 0), "inference-header-content-length is 0"),
        (raw_request(tensor(8, [2]), TWO, 3), "not valid JSON"),
        (raw_request(tensor(8, [2]), TWO, -3), "must be a number of bytes"),
        (raw_request(tensor(8, [2]), TWO, "x"), "must be a number of bytes"),
        (raw_request({**tensor(8, [2]), "parameters": {"binary_data_output": 1}}, TWO), "true or false"),
    ],
)
def test_invalid_raw_tensors_are_rejected(toy_url: str, request_: dict[str, Any], message: str) -> None:
    response = requests.post(toy_url, timeout=5, **request_)
    assert response.status_code == 400
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x05\0\0\0ab", "bytes are left over"),
        (b"\x01\0\0\0a", "must contain 2 elements"),
        (b"\x01\0\0\0a\x01\0\0\0\xff", "element 1 is not UTF-8"),
        (b"\xff\xff\xff\xff", "must contain 2 elements"),
    ],
)
def test_invalid_raw_strings_are_rejected(content: bytes, message: str) -> None:
    spec = TensorSpec("x", "BYTES", (-1,))
    tensor = {**spec.to_json(), "shape": [2], "parameters": {"binary_data_size": len(content)}}
    with pytest.raises(RequestError, match=message):
        decode_inputs([tensor], [spec], memoryview(content))
