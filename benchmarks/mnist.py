"""How good mnist is and what its training costs: the accuracy on the original 10,000 test pictures.

    OMP_WAIT_POLICY=passive python -m benchmarks.mnist --source FOLDER_OR_URL [--set epochs=10]

Trains and judges by the handler that serves. CPU seconds are those of the process: on a machine that has
other things to do they say more than the clock. The policy is for such a machine: threads that wait for each
other then sleep, where they else spin.
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

from continuous_training.adapters.data_sources import fetching
from continuous_training.core.run_parameters import parse_assignments
from workloads.mnist.workload import Mnist


def measure(source: str, given: dict[str, Any], say: Callable[[str], None], cache: Path) -> dict[str, float]:
    """Return accuracy (`vote`, `nearest`), seconds (`train`, `train_cpu`) and megabytes of one training."""
    workload = Mnist()
    values = workload.parse(given)
    with fetching(cache, say):
        rows = pa.Table.from_batches([part.batch for part in workload.load(source, values)])
    held = rows["split"].to_numpy() == "holdout"
    training, holdout = (rows.filter(pa.array(mask)) for mask in (~held, held))
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        workload.train(training, values, Path(folder), say)
        seconds = {"train": time.perf_counter() - began, "train_cpu": time.process_time() - cpu}
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        handler = workload.handler()
        handler.load(Path(folder))
        parts = [
            handler.inference(workload.tensors(holdout.slice(i, 1000))) for i in range(0, len(holdout), 1000)
        ]
        answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        one = {"image": workload.tensors(holdout.slice(0, 1))["image"]}
        handler.inference(one)
        began = time.perf_counter()
        for _ in range(200):
            handler.inference(one)
        answer = (time.perf_counter() - began) / 200
    labels = holdout["label"].to_numpy()
    vote, nearest = answers["label"], handler.labels[answers["neighbours"][:, 0]]
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
        "answer_ms": round(1000 * answer, 2),
    }


def main(argv: list[str] | None = None) -> int:
    """Print what was measured as a JSON object; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", default=Mnist.default_source, help="default: the sample, %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a run parameter")
    parser.add_argument("--cache", type=Path, default=Path(".state/cache"), metavar="DIR")
    arguments = parser.parse_args(argv)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    found = measure(arguments.source, parse_assignments(arguments.set), say, arguments.cache)
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
