"""The requests that are sent, and the answers that must come back: one thing, and 64 in one request."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.model import Model
from serving.unpack import MANIFEST

BATCH = 64


@dataclass(frozen=True)
class Body:
    """A request's JSON, and a check of an answer to it: what differs, in words."""

    request: Any
    differs: Callable[[Any], list[str]]


@dataclass(frozen=True)
class Bodies:
    """One thing and 64 of them in the words of one protocol."""

    single: Body
    batch: Body | None


def golden_requests(model: Model) -> list[Any]:
    """Read the golden requests beside the model's files."""
    manifest = json.loads((model.folder / MANIFEST).read_text(encoding="utf-8"))
    return [row["request"] for row in manifest["golden"]]


def in_own_words(model: Model, wrap: str | None = None) -> Bodies:
    """Return bodies in the workload's own words; `wrap` is for V1: `instances`."""
    requests = golden_requests(model)
    many = many_of(model.metadata.get("request_schema", {}), requests)
    made = [_own(model, request, wrap) for request in (requests[0], many) if request is not None]
    return Bodies(made[0], made[1] if len(made) > 1 else None)


def many_of(schema: dict[str, Any], requests: list[Any]) -> Any:
    """Return a request of 64 things, made of golden ones; None when the workload has no such request."""
    alternatives = schema.get("oneOf", [schema])
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


def as_tensors(model: Model) -> Bodies:
    """Return bodies in the words of the Open Inference Protocol v2."""
    rows = [model.handler.preprocess(request) for request in golden_requests(model)]
    names = [tensor["name"] for tensor in model.inputs]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in names}
    return Bodies(
        *(
            _tensors(model, {n: np.resize(joined[n], (size, *joined[n].shape[1:])) for n in names})
            for size in (1, BATCH)
        )
    )


def _own(model: Model, request: Any, wrap: str | None) -> Body:
    expected = json.loads(json.dumps(model.predict(request)))
    if wrap is None:
        return Body(request, lambda answer: _differences(expected, answer))
    return Body({wrap: [request]}, lambda answer: _differences([expected], answer["predictions"]))


def _tensors(model: Model, tensors: dict[str, np.ndarray]) -> Body:
    expected = {name: np.asarray(array).ravel().tolist() for name, array in model.infer(tensors).items()}
    inputs = [
        {
            "name": tensor["name"],
            "datatype": tensor["datatype"],
            "shape": list(tensors[tensor["name"]].shape),
            "data": tensors[tensor["name"]].ravel().tolist(),
        }
        for tensor in model.inputs
    ]

    def differs(answer: Any) -> list[str]:
        return _differences(expected, {tensor["name"]: tensor["data"] for tensor in answer["outputs"]})

    return Body({"inputs": inputs}, differs)


def _differences(expected: Any, answer: Any) -> list[str]:
    from serving.golden import check

    return check([{"request": None, "answer": expected}], lambda _: answer)
