"""Property-based tests: any request gets a response or a client error, and never a 500."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from echo_model import make_echo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toy_models import make_archive

from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES
from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.settings import ServerSettings

HttpResponse = tuple[int, dict[bytes, bytes], bytes]

HUNDRED_EXAMPLES = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


class AsgiClient:
    """Calls an ASGI application directly, without a socket."""

    def __init__(self, app: HttpApp) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()

    def post(self, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> HttpResponse:
        return self.loop.run_until_complete(self._post(path, body, list(headers)))

    async def _post(self, path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> HttpResponse:
        messages: list[Any] = []
        middle = len(body) // 2
        chunks = [(body[:middle], True), (body[middle:], False)]

        async def receive() -> dict[str, Any]:
            chunk, more_body = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": more_body}

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "headers": [(b"host", b"x"), *headers],
            "client": None,
        }
        await asyncio.wait_for(self.app(scope, receive, send), 20)
        start, content = messages
        return start["status"], dict(start["headers"]), content["body"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    root = tmp_path_factory.mktemp("hostile")
    repository = ModelRepository(root / "server")
    for archive in (make_echo(root), make_archive(root)):
        repository.load(archive.path, archive.digest)
    application = ServerApplication(repository, ServerSettings(max_body=200_000, max_held=400_000))
    client = AsgiClient(application.http_app)
    yield client
    client.loop.close()
    assert client.app.in_flight.bytes == application.batcher.queue_length == 0


def check(response: HttpResponse, *allowed: int) -> None:
    """Check that a response has an allowed status and, if it is an error, a message."""
    status, _, body = response
    assert status in (400, *allowed), body[:500]
    if status != 200:
        error = json.loads(body)["error"]
        assert 10 < len(error) < 1500


numbers = st.one_of(
    st.integers(),
    st.integers(-2, 4),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 2**64 - 1, 2**70, -1]),
    st.floats(allow_nan=False, allow_infinity=False),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8))
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
datatypes = st.one_of(st.sampled_from(sorted(NUMPY_DTYPES)), anything)
shapes = st.one_of(st.lists(st.integers(0, 3), max_size=3), st.lists(numbers, max_size=3), anything)
data = st.one_of(st.lists(numbers, max_size=8), st.lists(st.lists(leaves, max_size=3), max_size=4), anything)
parameters = st.one_of(
    anything,
    st.fixed_dictionaries({}, optional={"binary_data_size": st.one_of(numbers, anything)}),
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.sampled_from(["x", "FP32", "BYTES"]), anything),
        "datatype": datatypes,
        "shape": shapes,
        "data": data,
        "parameters": parameters,
    },
)
outputs = st.fixed_dictionaries(
    {}, optional={"name": st.one_of(st.just("y"), anything), "parameters": parameters}
)
bodies = st.one_of(
    anything,
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.one_of(st.text(max_size=5), anything),
            "inputs": st.one_of(st.lists(tensors, max_size=3), anything),
            "outputs": st.one_of(st.lists(outputs, max_size=3), anything),
            "parameters": st.one_of(
                st.fixed_dictionaries({}, optional={"binary_data_output": leaves}), anything
            ),
        },
    ),
)
lengths = st.one_of(st.none(), st.integers(-5, 400).map(str), st.text("0123456789-+. ex", max_size=25))


def length_header(length: str | None) -> list[tuple[bytes, bytes]]:
    return [] if length is None else [(b"inference-header-content-length", length.encode("latin-1"))]


@HUNDRED_EXAMPLES
@given(
    body=bodies,
    raw=st.binary(max_size=40),
    length=lengths,
    correct_length=st.booleans(),
    toy=st.booleans(),
)
def test_infer_handles_any_request(
    client: AsgiClient, body: Any, raw: bytes, length: str | None, correct_length: bool, toy: bool
) -> None:
    text = json.dumps(body).encode()
    headers = length_header(str(len(text)) if correct_length else length)
    response = client.post(f"/v2/models/{'toy' if toy else 'echo'}/infer", text + raw, *headers)
    # The toy model's output for -1 is NaN, which is an error 500.
    if b"is NaN" not in response[2] and b"contains NaN" not in response[2]:
        check(response, 200)


@HUNDRED_EXAMPLES
@given(
    body=st.one_of(
        st.binary(max_size=100),
        anything.map(lambda value: json.dumps(value).encode()),
        anything.map(lambda value: json.dumps({"x": [value]}).encode()),
    )
)
@example(b"\xff\xfe{")
@example(b"[" * 150_000)
@example(b'{"x":' * 30_000)
@example(b'{"x": [' + b"1," * 99_000 + b"1]}")
@example(b'{"x": "' + b"a" * 190_000 + b'"}')
@example(b'{"x": [1e999]}')
@example(b'{"x": [' + b"9" * 5000 + b"]}")
@example(b" " * 200_001)
def test_predict_handles_any_body(client: AsgiClient, body: bytes) -> None:
    for path in ("/predict/toy", "/v2/models/toy/infer"):
        response = client.post(path, body)
        if b"is NaN" not in response[2]:
            check(response, 200, 413)


def infer_body(**changes: Any) -> bytes:
    """Return a valid request with changes in its tensor."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0], **changes}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize("depth", [50, 500, 900, 1020])
@pytest.mark.parametrize("field", ["name", "datatype", "shape", "data", "parameters"])
def test_deep_nesting_in_any_field_is_400(client: AsgiClient, depth: int, field: str) -> None:
    body = infer_body(**{field: "HERE"}).replace(b'"HERE"', b"[" * depth + b"]" * depth)
    check(client.post("/v2/models/toy/infer", body))


@pytest.mark.parametrize(
    "shape",
    [[2**31 - 1], [2**31], [2**62, 2**62], [-1], [0], [], [1] * 100, [1.0], [None], ["1"], [2**31 - 1] * 30],
)
def test_huge_and_impossible_shapes_are_400(client: AsgiClient, shape: list[Any]) -> None:
    check(client.post("/v2/models/toy/infer", infer_body(shape=shape)))
    raw = infer_body(shape=shape, parameters={"binary_data_size": 4}).replace(b', "data": [1.0]', b"")
    check(client.post("/v2/models/toy/infer", raw + b"\0\0\0\0", *length_header(str(len(raw)))))


ELEMENTS = {
    "b": st.booleans(),
    "f": st.floats(-1000, 1000, width=16),
    "O": st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
}


def rows_of(datatype: str) -> st.SearchStrategy[list[list[Any]]]:
    """Return a strategy for three rows of two elements."""
    dtype = np.dtype(NUMPY_DTYPES[datatype])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        value: st.SearchStrategy[Any] = st.integers(int(limits.min), int(limits.max))
    else:
        value = ELEMENTS[dtype.kind]
    return st.lists(st.lists(value, min_size=2, max_size=2), min_size=3, max_size=3)


def raw_data(datatype: str, rows: list[list[Any]]) -> bytes:
    if datatype == "BYTES":
        strings = [string.encode() for row in rows for string in row]
        return b"".join(struct.pack("<I", len(string)) + string for string in strings)
    return np.array(rows, NUMPY_DTYPES[datatype]).tobytes()


@HUNDRED_EXAMPLES
@given(
    rows=st.fixed_dictionaries({datatype: rows_of(datatype) for datatype in NUMPY_DTYPES}),
    raw_datatypes=st.sets(st.sampled_from(sorted(NUMPY_DTYPES))),
    flat=st.booleans(),
)
def test_valid_tensors_are_echoed_unchanged(
    client: AsgiClient, rows: Any, raw_datatypes: set[str], flat: bool
) -> None:
    inputs: list[dict[str, Any]] = []
    raw = b""
    for datatype in NUMPY_DTYPES:
        tensor: dict[str, Any] = {"name": datatype, "datatype": datatype, "shape": [3, 2]}
        if datatype in raw_datatypes:
            content = raw_data(datatype, rows[datatype])
            tensor["parameters"] = {"binary_data_size": len(content)}
            raw += content
        else:
            tensor["data"] = [v for row in rows[datatype] for v in row] if flat else rows[datatype]
        inputs.append(tensor)
    text = json.dumps({"inputs": inputs}).encode()
    status, _, body = client.post("/v2/models/echo/infer", text + raw, *length_header(str(len(text))))
    assert status == 200, body
    for output in json.loads(body)["outputs"]:
        expected = [value for row in rows[output["name"].removesuffix("_echo")] for value in row]
        dtype = NUMPY_DTYPES[output["datatype"]]
        assert (np.array(output["data"], dtype) == np.array(expected, dtype)).all()


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_preprocess_raises_value_error_or_returns_tensors_of_the_signature(name: str) -> None:
    module = import_module(f"workloads.{name}.handler")
    handler = getattr(module, f"{name.title()}Handler")()
    keys = ("image", "images", "patient", "patients")
    near_misses = st.dictionaries(st.sampled_from(keys), anything, max_size=2)
    rows = st.lists(st.lists(numbers, min_size=8, max_size=8), min_size=8, max_size=8)
    patients = st.fixed_dictionaries(dict.fromkeys(getattr(module, "FEATURES", ("age",)), leaves))
    images = st.one_of(st.builds(lambda r: {"image": r}, rows), st.builds(lambda p: {"patient": p}, patients))

    @HUNDRED_EXAMPLES
    @given(request=st.one_of(anything, near_misses, images))
    def check_preprocess(request: Any) -> None:
        try:
            tensors = handler.preprocess(request)
        except ValueError:
            return
        for tensor in handler.inputs:
            array = tensors[tensor.name]
            assert array.shape[1:] == tensor.shape[1:]
            assert array.dtype == NUMPY_DTYPES[tensor.datatype]
            assert np.isfinite(array).all()

    check_preprocess()


def test_nan_and_infinity_are_rejected_in_json_and_raw_data(client: AsgiClient) -> None:
    for literal in ("NaN", "Infinity", "-Infinity"):
        check(
            client.post(
                "/v2/models/toy/infer", infer_body(data="HERE").replace(b'"HERE"', f"[{literal}]".encode())
            )
        )
    for value in (math.nan, math.inf):
        head = infer_body(parameters={"binary_data_size": 4}).replace(b', "data": [1.0]', b"")
        body = head + struct.pack("<f", value)
        check(client.post("/v2/models/toy/infer", body, *length_header(str(len(head)))))
