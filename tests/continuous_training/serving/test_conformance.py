"""The Open Inference Protocol, as a client sees it that nobody here wrote: Triton's."""

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

from continuous_training.artifacts.archive import Archive
from continuous_training.serving.api.tensors import DTYPES
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
    return np.array(SAMPLES[datatype], dtype=DTYPES[datatype])


def inputs(binary: bool) -> list[Any]:
    made = []
    for datatype in DTYPES:
        tensor = triton.InferInput(datatype, [3, 2], datatype)
        # The client itself refuses to write halves as JSON.
        tensor.set_data_from_numpy(array(datatype), binary_data=binary or datatype == "FP16")
        made.append(tensor)
    return made


def same(result: Any, datatype: str) -> bool:
    found = result.as_numpy(f"{datatype}_again")
    if datatype == "BYTES":
        texts = [item.decode() if isinstance(item, bytes) else item for item in found.ravel()]
        return bool(texts == [text for row in SAMPLES["BYTES"] for text in row])
    return bool(found.dtype == array(datatype).dtype and (found == array(datatype)).all())


def test_health_and_metadata(client: Any, echo: Archive) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", echo.version)
    assert not client.is_model_ready("none")
    assert not client.is_model_ready("echo", "2")
    about = client.get_server_metadata()
    assert set(about) == {"name", "version", "extensions"}
    assert about["extensions"] == ["binary_tensor_data"]
    for version in ("", echo.version):
        model = client.get_model_metadata("echo", version)
        assert (model["name"], model["versions"]) == ("echo", [echo.version])
        assert [tensor["datatype"] for tensor in model["inputs"]] == list(DTYPES)
        assert {tuple(tensor["shape"]) for tensor in model["inputs"] + model["outputs"]} == {(-1, 2)}
    with pytest.raises(triton.InferenceServerException, match="no model 'none'"):
        client.get_model_metadata("none")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_datatype_both_ways(client: Any, echo: Archive, binary_in: bool, binary_out: bool) -> None:
    wanted = [triton.InferRequestedOutput(f"{name}_again", binary_data=binary_out) for name in DTYPES]
    result = client.infer("echo", inputs(binary_in), outputs=wanted, request_id="mine")
    assert [name for name in DTYPES if not same(result, name)] == []
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == ("echo", echo.version)
    assert response["id"] == "mine"
    assert all(("data" in output) != binary_out for output in response["outputs"])


def test_only_the_outputs_that_are_asked_for_some_as_bytes(client: Any, echo: Archive) -> None:
    wanted = [
        triton.InferRequestedOutput("INT64_again", binary_data=False),
        triton.InferRequestedOutput("BYTES_again", binary_data=True),
        triton.InferRequestedOutput("FP32_again", binary_data=True),
    ]
    result = client.infer("echo", inputs(True), outputs=wanted, model_version=echo.version)
    assert [output["name"] for output in result.get_response()["outputs"]] == [
        "INT64_again",
        "BYTES_again",
        "FP32_again",
    ]
    assert all(same(result, name) for name in ("INT64", "BYTES", "FP32"))
    assert result.as_numpy("FP64_again") is None


def test_without_outputs_all_come_as_bytes_when_the_request_says_so(client: Any) -> None:
    # This is what the client sends when no outputs are named: binary_data_output.
    result = client.infer("echo", inputs(True))
    assert all("data" not in output for output in result.get_response()["outputs"])
    assert all(same(result, name) for name in DTYPES)


def test_errors_are_in_words(client: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match="takes exactly"):
        client.infer("echo", inputs(True)[:3])
    with pytest.raises(triton.InferenceServerException, match="no model 'none'"):
        client.infer("none", inputs(True))
    with pytest.raises(triton.InferenceServerException, match="no version '7'"):
        client.infer("echo", inputs(True), model_version="7")
    classes = [triton.InferRequestedOutput("FP32_again", class_count=2)]
    with pytest.raises(triton.InferenceServerException, match="classification is not supported"):
        client.infer("echo", inputs(True), outputs=classes)
    with pytest.raises(triton.InferenceServerException, match="without content-encoding"):
        client.infer("echo", inputs(True), request_compression_algorithm="gzip")


def test_many_at_once(client: Any, server: ServerClient) -> None:
    address = f"127.0.0.1:{server.running.port}"
    with triton.InferenceServerClient(address, concurrency=8) as many:
        asked = [many.async_infer("echo", inputs(binary=bool(n % 2))) for n in range(40)]
        results = [one.get_result() for one in asked]
    assert all(same(result, name) for result in results for name in DTYPES)


def test_the_repository_is_managed_on_the_private_port_with_the_token(
    server: ServerClient, client: Any, tmp_path: Path, echo: Archive
) -> None:
    token = {"authorization": f"Bearer {server.running.token}"}
    with triton.InferenceServerClient(f"127.0.0.1:{server.running.management_port}") as manager:
        with pytest.raises(triton.InferenceServerException, match="Authorization"):
            manager.get_model_repository_index()
        (row,) = manager.get_model_repository_index(headers=token)
        assert (row["name"], row["version"], row["state"]) == ("echo", echo.version, "READY")
        with pytest.raises(triton.InferenceServerException, match="nothing is known of 'toy'"):
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


def raw(header: dict[str, Any], tail: bytes = b"", length: int | str | None = None) -> dict[str, Any]:
    text = json.dumps(header).encode()
    named = {"inference-header-content-length": str(len(text) if length is None else length)}
    return {"data": text + tail, "headers": named}


@pytest.fixture(scope="module")
def toy_url(server: ServerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    toy = make_archive(tmp_path_factory.mktemp("toy"), name="binary")
    server.load("binary", toy.path, toy.digest)
    return f"{server.running.url}/v2/models/binary/infer"


def tensor(size: Any, shape: list[int], datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    given = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    return {"inputs": [{**given, **more}]}


TWO = np.array([1, 2.5], "<f4").tobytes()
NAN = np.array([1, np.nan], "<f4").tobytes()


def test_raw_bytes_are_answered_without_a_client(toy_url: str) -> None:
    response = requests.post(toy_url, timeout=5, **raw(tensor(8, [2]), TWO))
    assert response.json()["outputs"] == [{"name": "y", "shape": [2], "datatype": "FP32", "data": [2.0, 5.0]}]
    binary = {**tensor(8, [2]), "parameters": {"binary_data_output": True}}
    response = requests.post(toy_url, timeout=5, **raw(binary, TWO))
    length = int(response.headers["inference-header-content-length"])
    assert response.headers["content-type"] == "application/octet-stream"
    (output,) = json.loads(response.content[:length])["outputs"]
    assert output == {"name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    assert np.frombuffer(response.content[length:], "<f4").tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (raw(tensor(8, [2]), TWO[:-1]), "8 raw bytes were announced, and 7 came"),
        (raw(tensor(8, [2]), TWO + b"x"), "1 bytes follow the last raw tensor"),
        (raw(tensor(8, [3]), TWO), "takes 12 raw bytes, and it has 8"),
        (raw(tensor(-1, [2]), TWO), "must be a number of bytes"),
        (raw(tensor(True, [2]), TWO), "must be a number of bytes"),
        (raw(tensor("8", [2]), TWO), "must be a number of bytes"),
        (raw(tensor(2**62, [2**31 - 1]), TWO), "bytes were announced"),
        (raw(tensor(8, [2]), NAN), "holds NaN"),
        (raw(tensor(8, [2], data=[1, 2]), TWO), "one of them only"),
        (raw(tensor(8, [2], parameters=[]), TWO), "parameters must be an object"),
        (raw(tensor(8, [2]), TWO, 10**6), "inference-header-content-length is 1000000"),
        (raw(tensor(8, [2]), TWO, 0), "inference-header-content-length is 0"),
        (raw(tensor(8, [2]), TWO, 3), "not valid JSON"),
        (raw(tensor(8, [2]), TWO, -3), "must be a number of bytes"),
        (raw(tensor(8, [2]), TWO, "x"), "must be a number of bytes"),
        (raw({**tensor(8, [2]), "parameters": {"binary_data_output": 1}}, TWO), "true or false"),
    ],
)
def test_raw_bytes_that_are_not_what_was_announced(
    toy_url: str, request_: dict[str, Any], words: str
) -> None:
    response = requests.post(toy_url, timeout=5, **request_)
    assert response.status_code == 400
    assert words in response.json()["error"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x05\0\0\0ab", "1 bytes are left over|bytes are left over"),
        (b"\x01\0\0\0a", "must be 2 texts"),
        (b"\x01\0\0\0a\x01\0\0\0\xff", "text 1 is not UTF-8"),
        (b"\xff\xff\xff\xff", "must be 2 texts"),
    ],
)
def test_raw_texts_that_are_none(content: bytes, words: str) -> None:
    from continuous_training.serving.api.tensors import decode_inputs
    from continuous_training.serving.errors import RequestError

    wanted = {"name": "x", "datatype": "BYTES", "shape": [-1]}
    given = {**wanted, "shape": [2], "parameters": {"binary_data_size": len(content)}}
    with pytest.raises(RequestError, match=words):
        decode_inputs([given], [wanted], memoryview(content))
