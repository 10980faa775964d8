"""The reference implementations that the workloads must exceed. The one of nsmc is in nsmc_methods.py.

    python -m benchmarks.reference_implementations mnist SOURCE
    python -m benchmarks.reference_implementations iris|diabetes

A reference implementation is a short script with a standard method of scikit-learn or FAISS, without a
pipeline. Each runs as a separate process: it reads the data, trains, predicts the holdout and prints its
metrics as JSON.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

SPLITS = 20


def mnist(source: str) -> dict[str, Any]:
    """Measure the accuracy of the nearest training image by the distance between pixels."""
    import faiss

    from benchmarks.raw_rows import read_raw_rows
    from workloads.mnist.workload import Mnist

    pictures: dict[str, list[np.ndarray]] = {"train": [], "holdout": []}
    labels: dict[str, list[np.ndarray]] = {"train": [], "holdout": []}
    workload = Mnist()
    for batch in read_raw_rows(workload, source, workload.parse({})).to_batches():
        split = batch.column("split")[0].as_py()
        pixels = b"".join(batch.column("image").to_pylist())
        pictures[split].append(np.frombuffer(pixels, np.uint8).reshape(batch.num_rows, -1))
        labels[split].append(batch.column("label").to_numpy())
    train, holdout = (np.concatenate(pictures[split]).astype(np.float32) for split in ("train", "holdout"))
    index = faiss.IndexFlatL2(train.shape[1])
    index.add(train)
    _, nearest = index.search(holdout, 1)
    right = np.concatenate(labels["train"])[nearest[:, 0]] == np.concatenate(labels["holdout"])
    return {"accuracy": float(right.mean())}


def iris() -> dict[str, Any]:
    """Measure the mean accuracy of a support vector machine on unscaled measurements over random splits."""
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    flowers, species = load_iris(return_X_y=True)
    accuracies = []
    for number in range(SPLITS):
        train, test, train_labels, test_labels = train_test_split(
            flowers, species, test_size=0.2, random_state=number
        )
        accuracies.append(float(SVC().fit(train, train_labels).score(test, test_labels)))
    return {"accuracy": float(np.mean(accuracies))}


def diabetes() -> dict[str, Any]:
    """Fit a line over the body mass index: scikit-learn's own example, and the mean over random splits."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import mean_squared_error, r2_score
    from sklearn.model_selection import train_test_split

    patients, progression = load_diabetes(return_X_y=True)
    bmi = patients[:, [2]]

    def scores(train: Any, test: Any, train_labels: Any, test_labels: Any) -> tuple[float, float]:
        predictions = LinearRegression().fit(train, train_labels).predict(test)
        return float(mean_squared_error(test_labels, predictions)), float(r2_score(test_labels, predictions))

    example = scores(bmi[:-20], bmi[-20:], progression[:-20], progression[-20:])
    splits = [
        scores(*train_test_split(bmi, progression, test_size=0.2, random_state=n)) for n in range(SPLITS)
    ]
    mse, r2 = np.mean(splits, axis=0)
    return {"example mse": example[0], "example r2": example[1], "mse": float(mse), "r2": float(r2)}


def main() -> None:
    """Run one reference implementation and print its metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workload", choices=["mnist", "iris", "diabetes"])
    parser.add_argument("source", nargs="?", default="")
    arguments = parser.parse_args()
    implementation = {"iris": iris, "diabetes": diabetes}.get(arguments.workload)
    print(json.dumps(implementation() if implementation else mnist(arguments.source)))


if __name__ == "__main__":
    main()
