"""What the model does in a process of its own, with nothing around it: python -m benchmarks.serving.limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.models.model import Model, load_model

from .bodies import BATCH, golden_requests, many_of
from .contenders import ROOT, THREADS


def limits(folder: Path, seconds: float) -> dict[str, float]:
    """Return things a second: `json`, one after the other from JSON to JSON, `batch`, 64 as tensors, and
    `json_batch`, 64 in one request from JSON to JSON.

    In a fresh process with the threads that every server gets, since OpenMP counts them once.
    """
    command = [sys.executable, "-m", "benchmarks.serving.limit", str(folder), str(seconds)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **THREADS}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measured(model: Model, seconds: float) -> dict[str, float]:
    requests = golden_requests(model)
    body = encode(requests[0])
    many = many_of(model.metadata.request_schema, requests)
    several = b"" if many is None else encode(many)
    rows = [model.handler.preprocess(request) for request in requests]
    tensors: dict[str, Any] = {}
    for name in [tensor.name for tensor in model.inputs]:
        joined = np.concatenate([row[name] for row in rows])
        tensors[name] = np.resize(joined, (BATCH, *joined.shape[1:]))
    return {
        "json": _rate(lambda: encode(model.predict(decode(body))), seconds),
        "batch": BATCH * _rate(lambda: model.infer(tensors), seconds),
        "json_batch": BATCH * _rate(lambda: encode(model.predict(decode(several))), seconds * bool(several)),
    }


def _rate(work: Callable[[], Any], seconds: float) -> float:
    if not seconds:
        return 0.0
    for _ in range(10):
        work()
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        for _ in range(10):
            work()
        count += 10
    return count / elapsed


if __name__ == "__main__":
    print(json.dumps(_measured(load_model(Path(sys.argv[1])), float(sys.argv[2]))))
