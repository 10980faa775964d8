"""Large requests do not block the event loop: they are decoded in another thread, and in parts."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_hostile import AsgiClient
from toy_models import make_archive

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.serving import json_codec
from continuous_training.serving.api import tensor_inputs
from continuous_training.serving.errors import RequestError
from continuous_training.serving.gc_pause import gc_paused
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.application import ServerApplication

PADDING = "a" * 300_000
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1], "data": [3]}
REQUESTS = {
    "/predict/toy": {"x": [3], "padding": PADDING},
    "/v1/models/toy:predict": {"instances": [{"x": [3]}], "padding": PADDING},
    "/v2/models/toy/infer": {"inputs": [TENSOR], "id": PADDING},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    root = tmp_path_factory.mktemp("large")
    repository, archive = ModelRepository(root / "server"), make_archive(root)
    repository.load(archive.path, archive.digest)
    client = AsgiClient(ServerApplication(repository).http_app)
    yield client
    client.loop.close()


@pytest.mark.parametrize("path", REQUESTS)
def test_a_large_body_is_parsed_outside_the_thread_of_the_event_loop(
    client: AsgiClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    parse = json_codec.parse_in_parts

    def record(body: bytes) -> Any:
        threads.append(threading.current_thread())
        assert not gc.isenabled()
        return parse(body)

    monkeypatch.setattr(json_codec, "parse_in_parts", record)
    status, _, body = client.post(path, json.dumps(REQUESTS[path]).encode())
    assert (status, b"6.0" in body) == (200, True)
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
    assert gc.isenabled()


@pytest.mark.parametrize("part", [1, 3, 1000])
@pytest.mark.parametrize(
    ("datatype", "rows"),
    [
        ("FP32", [[0.5, 1], [2, 3], [4, 5.5]]),
        ("INT64", [[-1, 1], [2, 2**62], [4, 5]]),
        ("UINT8", [[0, 1], [2, 255], [4, 5]]),
        ("BOOL", [[True, False], [True, True], [False, False]]),
        ("BYTES", [["a", "b"], ["", "d"], ["é", "f"]]),
    ],
)
def test_tensors_are_the_same_in_parts(
    monkeypatch: pytest.MonkeyPatch, part: int, datatype: str, rows: list[Any]
) -> None:
    spec = TensorSpec("x", datatype, (-1, 2))
    expected = decode(rows, spec)
    monkeypatch.setattr(tensor_inputs, "_PART", part)
    flat = [value for row in rows for value in row]
    for data in (rows, flat):
        array = decode(json.loads(json.dumps(data)), spec)
        assert array.dtype == expected.dtype
        assert array.tolist() == rows


@pytest.mark.parametrize("part", [1, 3, 1000])
@pytest.mark.parametrize(
    ("datatype", "rows", "error"),
    [
        ("UINT8", [[0, 1], [2, 256], [4, 5]], "out of the range of UINT8"),
        ("UINT8", [[0, 1], [2, -1], [4, 5]], "out of the range of UINT8"),
        ("FP32", [[0, 1], [2, "3"], [4, 5]], "must contain only numbers"),
        ("FP32", [[0, 1], [2, 1e300], [4, 5]], "out of the range of FP32"),
        ("FP32", [[0, 1], [2], [4, 5]], "ragged"),
        ("FP32", [[0, 1], 2, [4, 5]], "ragged"),
    ],
)
def test_invalid_tensors_are_rejected_in_parts(
    monkeypatch: pytest.MonkeyPatch, part: int, datatype: str, rows: list[Any], error: str
) -> None:
    monkeypatch.setattr(tensor_inputs, "_PART", part)
    with pytest.raises(RequestError, match=error):
        decode(rows, TensorSpec("x", datatype, (-1, 2)))


def decode(data: list[Any], spec: TensorSpec) -> np.ndarray:
    tensor = {"name": "x", "datatype": spec.datatype, "shape": [3, 2], "data": data}
    return tensor_inputs.decode_inputs([tensor], [spec], memoryview(b""))["x"]


def test_the_garbage_collector_is_off_until_the_last_block_ends() -> None:
    with gc_paused():
        with pytest.raises(ValueError, match="no"), gc_paused():
            raise ValueError("no")
        assert not gc.isenabled()
    assert gc.isenabled()
