"""How good digits is on other draws of the holdout: its one split of 367 pictures is one draw.

    python -m benchmarks.digits [--splits 8]

Trains and judges the workload on random splits of the same size, by the handler that serves it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from workloads.digits.workload import Digits


def accuracy(rows: pa.Table, seed: int) -> float:
    """Return the holdout accuracy of a model trained on a random split."""
    workload = Digits()
    held = np.random.default_rng(seed).random(rows.num_rows) < 0.2
    train, holdout = rows.filter(pa.array(~held)), rows.filter(pa.array(held))
    with tempfile.TemporaryDirectory() as folder:
        workload.train(train, workload.parse({}), Path(folder), lambda _: None)
        handler = workload.handler()
        handler.load(Path(folder))
        predicted = handler.inference(workload.tensors(holdout))["label"]
    return float((predicted == holdout["label"].to_numpy()).mean())


def main() -> None:
    """Print the accuracy on each split, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--splits", type=int, default=8)
    splits = parser.parse_args().splits
    workload = Digits()
    rows = pa.Table.from_batches([r.batch for r in workload.load(Digits.default_source, workload.parse({}))])
    found = [accuracy(rows, seed) for seed in range(splits)]
    print("  ".join(f"{value:.4f}" for value in found))
    print(f"mean of {splits} splits: {np.mean(found):.4f}")


if __name__ == "__main__":
    main()
