"""Whatever a caller sends, he gets his answer or is told what is wrong: never a 500, never silence."""

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

from continuous_training.serving.api.tensors import DTYPES
from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.settings import ServerSettings

Answer = tuple[int, dict[bytes, bytes], bytes]

MANY = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


class Caller:
    """Asks an application as uvicorn does, without a socket between."""

    def __init__(self, app: HttpApp) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()

    def post(self, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
        return self.loop.run_until_complete(self._post(path, body, list(headers)))

    async def _post(self, path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        sent: list[Any] = []
        cut = len(body) // 2
        parts = [(body[:cut], True), (body[cut:], False)]

        async def receive() -> dict[str, Any]:
            part, more = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": more}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": None}
        await asyncio.wait_for(self.app(scope, receive, send), 20)
        start, content = sent
        return start["status"], dict(start["headers"]), content["body"]


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    root = tmp_path_factory.mktemp("hostile")
    repository = ModelRepository(root / "server")
    for archive in (make_echo(root), make_archive(root)):
        repository.load(archive.path, archive.digest)
    application = ServerApplication(repository, ServerSettings(max_body=200_000, max_held=400_000))
    made = Caller(application.http_app)
    yield made
    made.loop.close()
    assert made.app.in_flight.bytes == application.batcher.queue_length == 0


def check(answer: Answer, *allowed: int) -> None:
    status, _, body = answer
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
datatypes = st.one_of(st.sampled_from(sorted(DTYPES)), anything)
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


def header(length: str | None) -> list[tuple[bytes, bytes]]:
    return [] if length is None else [(b"inference-header-content-length", length.encode("latin-1"))]


@MANY
@given(body=bodies, tail=st.binary(max_size=40), length=lengths, right=st.booleans(), model=st.booleans())
def test_infer_answers_anything(
    caller: Caller, body: Any, tail: bytes, length: str | None, right: bool, model: bool
) -> None:
    text = json.dumps(body).encode()
    named = header(str(len(text)) if right else length)
    answer = caller.post(f"/v2/models/{'toy' if model else 'echo'}/infer", text + tail, *named)
    # The toy's answer to -1 is NaN, on purpose.
    if b"is NaN" not in answer[2] and b"holds NaN" not in answer[2]:
        check(answer, 200)


@MANY
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
def test_predict_answers_anything(caller: Caller, body: bytes) -> None:
    for path in ("/predict/toy", "/v2/models/toy/infer"):
        answer = caller.post(path, body)
        if b"is NaN" not in answer[2]:
            check(answer, 200, 413)


def near(**changes: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0], **changes}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize("depth", [50, 500, 900, 1020])
@pytest.mark.parametrize("field", ["name", "datatype", "shape", "data", "parameters"])
def test_depth_in_every_place_is_400(caller: Caller, depth: int, field: str) -> None:
    marked = near(**{field: "HERE"}).replace(b'"HERE"', b"[" * depth + b"]" * depth)
    check(caller.post("/v2/models/toy/infer", marked))


@pytest.mark.parametrize(
    "shape",
    [[2**31 - 1], [2**31], [2**62, 2**62], [-1], [0], [], [1] * 100, [1.0], [None], ["1"], [2**31 - 1] * 30],
)
def test_huge_and_impossible_shapes_are_400(caller: Caller, shape: list[Any]) -> None:
    check(caller.post("/v2/models/toy/infer", near(shape=shape)))
    raw = near(shape=shape, parameters={"binary_data_size": 4}).replace(b', "data": [1.0]', b"")
    check(caller.post("/v2/models/toy/infer", raw + b"\0\0\0\0", *header(str(len(raw)))))


values = {
    "b": st.booleans(),
    "f": st.floats(-1000, 1000, width=16),
    "O": st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
}


def of(datatype: str) -> st.SearchStrategy[list[list[Any]]]:
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        value: st.SearchStrategy[Any] = st.integers(int(limits.min), int(limits.max))
    else:
        value = values[dtype.kind]
    return st.lists(st.lists(value, min_size=2, max_size=2), min_size=3, max_size=3)


def to_raw(datatype: str, rows: list[list[Any]]) -> bytes:
    if datatype == "BYTES":
        texts = [text.encode() for row in rows for text in row]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(rows, DTYPES[datatype]).tobytes()


@MANY
@given(
    rows=st.fixed_dictionaries({datatype: of(datatype) for datatype in DTYPES}),
    raw=st.sets(st.sampled_from(sorted(DTYPES))),
    flat=st.booleans(),
)
def test_what_fits_comes_back_as_it_was(caller: Caller, rows: Any, raw: set[str], flat: bool) -> None:
    given_: list[dict[str, Any]] = []
    tail = b""
    for datatype in DTYPES:
        tensor: dict[str, Any] = {"name": datatype, "datatype": datatype, "shape": [3, 2]}
        if datatype in raw:
            content = to_raw(datatype, rows[datatype])
            tensor["parameters"] = {"binary_data_size": len(content)}
            tail += content
        else:
            tensor["data"] = [v for row in rows[datatype] for v in row] if flat else rows[datatype]
        given_.append(tensor)
    text = json.dumps({"inputs": given_}).encode()
    status, _, body = caller.post("/v2/models/echo/infer", text + tail, *header(str(len(text))))
    assert status == 200, body
    for output in json.loads(body)["outputs"]:
        expected = [value for row in rows[output["name"].removesuffix("_again")] for value in row]
        dtype = DTYPES[output["datatype"]]
        assert (np.array(output["data"], dtype) == np.array(expected, dtype)).all()


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_handlers_refuse_anything_with_a_value_error_or_give_what_their_signature_says(name: str) -> None:
    module = import_module(f"workloads.{name}.handler")
    handler = getattr(module, f"{name.title()}Handler")()
    keys = ("image", "images", "patient", "patients")
    near_misses = st.dictionaries(st.sampled_from(keys), anything, max_size=2)
    rows = st.lists(st.lists(numbers, min_size=8, max_size=8), min_size=8, max_size=8)
    patients = st.fixed_dictionaries(dict.fromkeys(getattr(module, "FEATURES", ("age",)), leaves))
    pictures = st.one_of(
        st.builds(lambda r: {"image": r}, rows), st.builds(lambda p: {"patient": p}, patients)
    )

    @MANY
    @given(request=st.one_of(anything, near_misses, pictures))
    def refuses_or_reads(request: Any) -> None:
        try:
            tensors = handler.preprocess(request)
        except ValueError:
            return
        for tensor in handler.inputs:
            array = tensors[tensor.name]
            assert array.shape[1:] == tensor.shape[1:]
            assert array.dtype == DTYPES[tensor.datatype]
            assert np.isfinite(array).all()

    refuses_or_reads()


def test_nan_is_no_json_and_no_tensor(caller: Caller) -> None:
    for word in ("NaN", "Infinity", "-Infinity"):
        check(caller.post("/v2/models/toy/infer", near(data="HERE").replace(b'"HERE"', f"[{word}]".encode())))
    for value in (math.nan, math.inf):
        head = near(parameters={"binary_data_size": 4}).replace(b', "data": [1.0]', b"")
        body = head + struct.pack("<f", value)
        check(caller.post("/v2/models/toy/infer", body, *header(str(len(head)))))
