"""How good a workload is on other draws of the holdout: its one split is one draw.

    python -m benchmarks.splits --workload digits [--splits 8] [--set KEY=VALUE]

Trains and judges the workload's default rows on random splits of the same size, by the handler that serves.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.evaluate.scores import METRICS, score
from workloads import register
from workloads.contract import Values, Workload
from workloads.parameters import parse_assignments


def measure(workload: Workload, values: Values, rows: pa.Table, seed: int) -> float:
    """Return the primary metric, on the rows held out, of a model trained on the others of a random split."""
    held = np.random.default_rng(seed).random(rows.num_rows) < float(values["test_size"])
    train, holdout = rows.filter(pa.array(~held)), rows.filter(pa.array(held))
    with tempfile.TemporaryDirectory() as folder:
        workload.train(train, values, Path(folder), lambda _: None)
        handler = workload.handler()
        handler.load(Path(folder))
        predicted = handler.inference(workload.tensors(holdout))[workload.prediction]
    metric = next(m for m in METRICS[workload.task] if m.name == workload.rule.metric)
    return score(metric, holdout[workload.target].to_numpy(), predicted)


def main() -> None:
    """Print the metric on each split, the mean, the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", required=True, metavar="NAME")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    workload = register.get(arguments.workload)
    values = workload.parse(parse_assignments(arguments.set))
    source = str(values["source"] or workload.default_source)
    rows = pa.Table.from_batches([rows.batch for rows in workload.load(source, values)])
    found = [measure(workload, values, rows, seed) for seed in range(arguments.splits)]
    print("  ".join(f"{value:.4f}" for value in found))
    print(f"{workload.rule.metric} on {arguments.splits} splits: mean {np.mean(found):.4f}, ", end="")
    print(f"least {min(found):.4f}, most {max(found):.4f}")


if __name__ == "__main__":
    main()
