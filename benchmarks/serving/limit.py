"""The speed of the model in a separate process without a server: python -m benchmarks.serving.limit."""

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

from .bodies import BATCH, batch_request, golden_requests
from .contenders import ROOT, THREADS


def limits(folder: Path, seconds: float) -> dict[str, float]:
    """Return items per second: `json` (single requests from JSON to JSON), `batch` (64 items as tensors) and
    `json_batch` (64 items in one request from JSON to JSON).

    Runs in a new process with the thread settings of the servers, since OpenMP reads them only at its start.
    """
    command = [sys.executable, "-m", "benchmarks.serving.limit", str(folder), str(seconds)]
    completed = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **THREADS}
    )
    rates: dict[str, float] = json.loads(completed.stdout)
    return rates


def _measure_rates(model: Model, seconds: float) -> dict[str, float]:
    requests = golden_requests(model)
    body = encode(requests[0])
    batch = batch_request(model.metadata.request_schema, requests)
    batch_body = b"" if batch is None else encode(batch)
    rows = [model.handler.preprocess(request) for request in requests]
    tensors: dict[str, Any] = {}
    for name in [tensor.name for tensor in model.inputs]:
        column = np.concatenate([row[name] for row in rows])
        tensors[name] = np.resize(column, (BATCH, *column.shape[1:]))
    return {
        "json": _rate(lambda: encode(model.predict(decode(body))), seconds),
        "batch": BATCH * _rate(lambda: model.infer(tensors), seconds),
        "json_batch": BATCH
        * _rate(lambda: encode(model.predict(decode(batch_body))), seconds * bool(batch_body)),
    }


def _rate(call: Callable[[], Any], seconds: float) -> float:
    if not seconds:
        return 0.0
    for _ in range(10):
        call()
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(10):
            call()
        count += 10
    return count / elapsed


if __name__ == "__main__":
    print(json.dumps(_measure_rates(load_model(Path(sys.argv[1])), float(sys.argv[2]))))
