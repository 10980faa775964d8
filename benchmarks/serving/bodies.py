"""The requests that are sent, and the answers that must come back: one thing, and 64 in one request."""

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
    """A request's bytes with their headers, and a check of an answer to it: what differs, in words."""

    content: bytes
    differs: Callable[[Any], list[str]]
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def json_body(request: Any, differs: Callable[[Any], list[str]]) -> Body:
    """Return a body of JSON."""
    return Body(json.dumps(request).encode(), differs)


@dataclass(frozen=True)
class Bodies:
    """One thing and 64 of them in the words of one protocol."""

    single: Body
    batch: Body | None


def golden_requests(model: Model) -> list[Any]:
    """Read the golden requests beside the model's files."""
    manifest = json.loads((model.folder / MANIFEST).read_text(encoding="utf-8"))
    return [row["request"] for row in manifest["golden"]]


def in_own_words(model: Model, wrap: str | None = None, other: bool = False) -> Bodies:
    """Return bodies in the workload's own words; `wrap` is for V1: `instances`.

    Where another model answers (`other`), there must only be as many predictions.
    """
    requests = golden_requests(model)
    many = many_of(model.metadata.request_schema, requests)
    made = [_own(model, request, wrap, other) for request in (requests[0], many) if request is not None]
    return Bodies(made[0], made[1] if len(made) > 1 else None)


def many_of(schema: Mapping[str, Any], requests: list[Any]) -> Any:
    """Return a request of 64 things, made of golden ones; None when the workload has no such request."""
    alternatives = schema.get("oneOf") or schema.get("anyOf") or [schema]
    one = next(iter(requests[0]))
    lists = [
        name
        for alternative in alternatives
        for name, found in alternative.get("properties", {}).items()
        if found.get("type") == "array" and name in alternative.get("required", ()) and "x-image" not in found
    ]
    if not lists:
        return None
    name = lists[0]
    if name == one:  # the golden requests are lists already
        items = [item for request in requests for item in request[name]]
    else:
        items = [request[one] for request in requests]
    rest = {key: value for key, value in requests[0].items() if key not in (one, name)}
    return {name: list(itertools.islice(itertools.cycle(items), BATCH)), **rest}


def as_tensors(model: Model, raw: bool = False) -> Bodies:
    """Return bodies in the words of the Open Inference Protocol v2; `raw`: by its binary extension."""
    rows = [model.handler.preprocess(request) for request in golden_requests(model)]
    names = [tensor.name for tensor in model.inputs]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in names}
    return Bodies(
        *(
            _tensors(model, {n: np.resize(joined[n], (size, *joined[n].shape[1:])) for n in names}, raw)
            for size in (1, BATCH)
        )
    )


def _own(model: Model, request: Any, wrap: str | None, other: bool) -> Body:
    expected = json.loads(json.dumps(model.predict(request)))
    if other:
        return json_body(request, lambda answer: _sizes(expected["predictions"], answer["predictions"]))
    if wrap is None:
        return json_body(request, lambda answer: _differences(expected, answer))
    return json_body({wrap: [request]}, lambda answer: _differences([expected], answer["predictions"]))


def _sizes(expected: list[Any], found: list[Any]) -> list[str]:
    return [] if len(expected) == len(found) else [f"{len(found)} predictions, and {len(expected)} expected"]


def _tensors(model: Model, tensors: dict[str, np.ndarray], raw: bool) -> Body:
    expected = {name: np.asarray(array).ravel().tolist() for name, array in model.infer(tensors).items()}
    inputs: list[dict[str, Any]] = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensors[tensor.name].shape)}
        for tensor in model.inputs
    ]

    def differs(answer: Any) -> list[str]:
        return _differences(expected, {tensor["name"]: tensor["data"] for tensor in answer["outputs"]})

    if not raw:
        for one in inputs:
            one["data"] = tensors[one["name"]].ravel().tolist()
        return json_body({"inputs": inputs}, differs)
    parts = [_raw(tensors[one["name"]]) for one in inputs]
    for one, part in zip(inputs, parts, strict=True):
        one["parameters"] = {"binary_data_size": len(part)}
    text = json.dumps({"inputs": inputs}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return Body(b"".join([text, *parts]), differs, headers)


def _raw(array: np.ndarray) -> bytes:
    """Return a tensor's bytes as the binary extension has them."""
    if array.dtype.kind != "O":
        return array.tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _differences(expected: Any, answer: Any) -> list[str]:
    from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet

    return GoldenSet((GoldenRequest(None, expected),)).check(lambda _: answer)
