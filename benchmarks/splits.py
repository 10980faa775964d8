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

from continuous_training.core.run_parameters import parse_assignments
from continuous_training.evaluation.metrics import METRICS, score
from workloads import discovery
from workloads.contract import Values, Workload


def measure(workload: Workload, values: Values, rows: pa.Table, seed: int) -> float:
    """Return the primary metric, on the rows held out, of a model trained on the others of a random split."""
    held = np.random.default_rng(seed).random(rows.num_rows) < float(values["test_size"])
    predicted = _answers(workload, values, rows, held)
    metric = next(m for m in METRICS[workload.task] if m.name == workload.rule.metric)
    return score(metric, rows[workload.target].to_numpy()[held], predicted)


def out_of_fold(workload: Workload, values: Values, rows: pa.Table, folds: int, seed: int) -> np.ndarray:
    """Return an answer for every row, each by a model that has learnt from the other folds alone."""
    fold = np.random.default_rng(seed).permutation(rows.num_rows) % folds
    answers = np.empty(rows.num_rows)
    for number in range(folds):
        answers[fold == number] = _answers(workload, values, rows, fold == number)
    return answers


def rows_of(workload: Workload, values: Values) -> pa.Table:
    """Return all rows of the source that `values` names, or of the workload's own."""
    source = str(values["source"] or workload.default_source)
    return pa.Table.from_batches([rows.batch for rows in workload.load(source, values)])


def _answers(workload: Workload, values: Values, rows: pa.Table, held: np.ndarray) -> np.ndarray:
    """Train on the rows that are not held and return the answers for those that are."""
    with tempfile.TemporaryDirectory() as folder:
        workload.train(rows.filter(pa.array(~held)), values, Path(folder), lambda _: None)
        handler = workload.handler()
        handler.load(Path(folder))
        return handler.inference(workload.tensors(rows.filter(pa.array(held))))[workload.prediction]


def main() -> None:
    """Print the metric on each split, the mean, the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", required=True, metavar="NAME")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    workload = discovery.get(arguments.workload)
    values = workload.parse(parse_assignments(arguments.set))
    rows = rows_of(workload, values)
    found = [measure(workload, values, rows, seed) for seed in range(arguments.splits)]
    print("  ".join(f"{value:.4f}" for value in found))
    print(f"{workload.rule.metric} on {arguments.splits} splits: mean {np.mean(found):.4f}, ", end="")
    print(f"least {min(found):.4f}, most {max(found):.4f}")


if __name__ == "__main__":
    main()
