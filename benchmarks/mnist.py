"""Measure the accuracy of mnist on the original 10,000 test pictures, and the cost of its training.

    OMP_WAIT_POLICY=passive python -m benchmarks.mnist --source FOLDER_OR_URL [--set epochs=10]

The predictions come from the handler that also serves the model. CPU seconds are measured for this process,
because wall-clock time is not reliable on a busy machine. With OMP_WAIT_POLICY=passive, waiting threads sleep
instead of using the processor.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.raw_rows import CACHE, read_raw_rows
from continuous_training.core.run_parameters import parse_assignments
from workloads.mnist.workload import Mnist


def measure(
    source: str, parameters: dict[str, Any], log: Callable[[str], None], cache: Path
) -> dict[str, float]:
    """Return accuracy (`vote`, `nearest`), seconds (`train`, `train_cpu`) and megabytes of one training."""
    workload = Mnist()
    values = workload.parse(parameters)
    rows = read_raw_rows(workload, source, values, cache, log)
    is_holdout = rows["split"].to_numpy() == "holdout"
    training, holdout = (rows.filter(pa.array(mask)) for mask in (~is_holdout, is_holdout))
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        workload.train(training, values, Path(folder), log)
        seconds = {"train": time.perf_counter() - started, "train_cpu": time.process_time() - cpu}
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        handler = workload.handler()
        handler.load(Path(folder))
        parts = [
            handler.inference(workload.tensors(holdout.slice(i, 1000))) for i in range(0, len(holdout), 1000)
        ]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        single_request = {"image": workload.tensors(holdout.slice(0, 1))["image"]}
        handler.inference(single_request)
        started = time.perf_counter()
        for _ in range(200):
            handler.inference(single_request)
        response_seconds = (time.perf_counter() - started) / 200
    labels = holdout["label"].to_numpy()
    vote, nearest = outputs["label"], handler.labels[outputs["neighbours"][:, 0]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "rows": len(training),
        "holdout": len(labels),
        "vote": float(np.mean(vote == labels)),
        "nearest": float(np.mean(nearest == labels)),
        **{f"digit {d}": float(np.mean(vote[labels == d] == d)) for d in range(10)},
        **{name: round(value, 1) for name, value in seconds.items()},
        "model_mb": round(size, 1),
        "peak_mb": round(peak),
        "answer_ms": round(1000 * response_seconds, 2),
    }


def main(argv: list[str] | None = None) -> int:
    """Print the measurements as a JSON object. Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", default=Mnist.default_source, help="default: the sample, %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a run parameter")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR")
    arguments = parser.parse_args(argv)

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    metrics = measure(arguments.source, parse_assignments(arguments.set), log, arguments.cache)
    print(json.dumps(metrics, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
