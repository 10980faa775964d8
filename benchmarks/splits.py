"""Measure the metric of a workload on several random splits.

    python -m benchmarks.splits --workload digits [--splits 8] [--set KEY=VALUE]

Trains on the workload's default rows with random splits of the same size. The predictions come from the
handler that also serves the model.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.raw_rows import read_raw_rows
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.evaluation.metrics import METRICS, score
from workloads import discovery
from workloads.contract import Values, Workload


def measure(workload: Workload, values: Values, rows: pa.Table, seed: int) -> float:
    """Train on a random split and return the primary metric on its holdout."""
    is_holdout = np.random.default_rng(seed).random(rows.num_rows) < float(values["test_size"])
    predicted = _answers(workload, values, rows, is_holdout)
    metric = next(m for m in METRICS[workload.task] if m.name == workload.rule.metric)
    return score(metric, rows[workload.target].to_numpy()[is_holdout], predicted)


def out_of_fold(workload: Workload, values: Values, rows: pa.Table, folds: int, seed: int) -> np.ndarray:
    """Return the cross-validated prediction for every row, from a model trained on the other folds."""
    fold = np.random.default_rng(seed).permutation(rows.num_rows) % folds
    answers = np.empty(rows.num_rows)
    for number in range(folds):
        answers[fold == number] = _answers(workload, values, rows, fold == number)
    return answers


def rows_of(workload: Workload, values: Values) -> pa.Table:
    """Return all rows of the source in `values`, or of the workload's default source."""
    source = str(values["source"] or workload.default_source)
    return read_raw_rows(workload, source, values)


def _answers(workload: Workload, values: Values, rows: pa.Table, is_holdout: np.ndarray) -> np.ndarray:
    """Train on the rows outside the holdout and return the predictions for the holdout."""
    with tempfile.TemporaryDirectory() as folder:
        workload.train(rows.filter(pa.array(~is_holdout)), values, Path(folder), lambda _: None)
        handler = workload.handler()
        handler.load(Path(folder))
        return handler.inference(workload.tensors(rows.filter(pa.array(is_holdout))))[workload.prediction]


def main() -> None:
    """Print the metric on each split, and the mean, minimum and maximum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", required=True, metavar="NAME")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    workload = discovery.get(arguments.workload)
    values = workload.parse(parse_assignments(arguments.set))
    rows = rows_of(workload, values)
    scores = [measure(workload, values, rows, seed) for seed in range(arguments.splits)]
    print("  ".join(f"{value:.4f}" for value in scores))
    print(f"{workload.rule.metric} on {arguments.splits} splits: mean {np.mean(scores):.4f}, ", end="")
    print(f"least {min(scores):.4f}, most {max(scores):.4f}")


if __name__ == "__main__":
    main()
