"""Request bodies and the expected responses: one item per request, and 64 items in one request."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from continuous_training.artifacts.archive_manifest import MANIFEST
from continuous_training.serving.models.model import Model

BATCH = 64


@dataclass(frozen=True)
class Body:
    """The bytes and headers of a request, and a function that lists the differences of a response in text."""

    content: bytes
    find_differences: Callable[[Any], list[str]]
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def json_body(request: Any, find_differences: Callable[[Any], list[str]]) -> Body:
    """Return a JSON body."""
    return Body(json.dumps(request).encode(), find_differences)


@dataclass(frozen=True)
class Bodies:
    """A request with one item and a request with 64 items, in the format of one protocol."""

    single: Body
    batch: Body | None


def golden_requests(model: Model) -> list[Any]:
    """Read the golden requests from the manifest in the model's directory."""
    manifest = json.loads((model.folder / MANIFEST).read_text(encoding="utf-8"))
    return [row["request"] for row in manifest["golden"]]


def workload_bodies(model: Model, wrap: str | None = None, another_model: bool = False) -> Bodies:
    """Return bodies in the request format of the workload. `wrap` is the key that V1 requires: `instances`.

    With `another_model`, a different model responds, so only the number of predictions is compared.
    """
    requests = golden_requests(model)
    batch = batch_request(model.metadata.request_schema, requests)
    created = [
        _workload_body(model, request, wrap, another_model)
        for request in (requests[0], batch)
        if request is not None
    ]
    return Bodies(created[0], created[1] if len(created) > 1 else None)


def batch_request(schema: Mapping[str, Any], requests: list[Any]) -> Any:
    """Return a request with 64 items of the golden requests, or None if it accepts one item only."""
    alternatives = schema.get("oneOf") or schema.get("anyOf") or [schema]
    item_key = next(iter(requests[0]))
    lists = [
        name
        for alternative in alternatives
        for name, property_schema in alternative.get("properties", {}).items()
        if property_schema.get("type") == "array"
        and name in alternative.get("required", ())
        and "x-image" not in property_schema
    ]
    if not lists:
        return None
    name = lists[0]
    if name == item_key:  # The golden requests contain lists already.
        items = [item for request in requests for item in request[name]]
    else:
        items = [request[item_key] for request in requests]
    rest = {key: value for key, value in requests[0].items() if key not in (item_key, name)}
    return {name: list(itertools.islice(itertools.cycle(items), BATCH)), **rest}


def tensor_bodies(model: Model, raw: bool = False) -> Bodies:
    """Return bodies of the Open Inference Protocol v2. `raw` selects its binary tensor data extension."""
    rows = [model.handler.preprocess(request) for request in golden_requests(model)]
    names = [tensor.name for tensor in model.inputs]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in names}
    return Bodies(
        *(
            _tensors(model, {n: np.resize(columns[n], (size, *columns[n].shape[1:])) for n in names}, raw)
            for size in (1, BATCH)
        )
    )


def _workload_body(model: Model, request: Any, wrap: str | None, another_model: bool) -> Body:
    expected = json.loads(json.dumps(model.predict(request)))
    if another_model:
        return json_body(
            request, lambda answer: _count_differences(expected["predictions"], answer["predictions"])
        )
    if wrap is None:
        return json_body(request, lambda answer: _differences(expected, answer))
    return json_body({wrap: [request]}, lambda answer: _differences([expected], answer["predictions"]))


def _count_differences(expected: list[Any], predictions: list[Any]) -> list[str]:
    return (
        []
        if len(expected) == len(predictions)
        else [f"{len(predictions)} predictions instead of {len(expected)}"]
    )


def _tensors(model: Model, tensors: dict[str, np.ndarray], raw: bool) -> Body:
    expected = {name: np.asarray(array).ravel().tolist() for name, array in model.infer(tensors).items()}
    inputs: list[dict[str, Any]] = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensors[tensor.name].shape)}
        for tensor in model.inputs
    ]

    def find_differences(answer: Any) -> list[str]:
        return _differences(expected, {tensor["name"]: tensor["data"] for tensor in answer["outputs"]})

    if not raw:
        for tensor_input in inputs:
            tensor_input["data"] = tensors[tensor_input["name"]].ravel().tolist()
        return json_body({"inputs": inputs}, find_differences)
    parts = [_raw(tensors[tensor_input["name"]]) for tensor_input in inputs]
    for tensor_input, part in zip(inputs, parts, strict=True):
        tensor_input["parameters"] = {"binary_data_size": len(part)}
    text = json.dumps({"inputs": inputs}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return Body(b"".join([text, *parts]), find_differences, headers)


def _raw(array: np.ndarray) -> bytes:
    """Return the bytes of a tensor in the format of the binary tensor data extension."""
    if array.dtype.kind != "O":
        return array.tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _differences(expected: Any, answer: Any) -> list[str]:
    from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet

    return GoldenSet((GoldenRequest(None, expected),)).check(lambda _: answer)
