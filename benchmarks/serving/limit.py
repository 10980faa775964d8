"""What the model does in this process, with nothing around it: nobody who serves it is faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from serving.jsontext import decode, encode
from serving.model import Model

from .bodies import BATCH, golden_requests


def limits(model: Model, seconds: float) -> dict[str, float]:
    """Return things a second: `json`, one after the other from JSON to JSON, and `batch`, 64 as tensors."""
    requests = golden_requests(model)
    body = encode(requests[0])
    rows = [model.handler.preprocess(request) for request in requests]
    names = [tensor["name"] for tensor in model.inputs]
    tensors: dict[str, Any] = {}
    for name in names:
        joined = np.concatenate([row[name] for row in rows])
        tensors[name] = np.resize(joined, (BATCH, *joined.shape[1:]))
    return {
        "json": _rate(lambda: encode(model.predict(decode(body))), seconds),
        "batch": BATCH * _rate(lambda: model.infer(tensors), seconds),
    }


def _rate(work: Callable[[], Any], seconds: float) -> float:
    for _ in range(10):
        work()
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        for _ in range(10):
            work()
        count += 10
    return count / elapsed
