"""The plain ways that the workloads were to beat, each a whole process; nsmc's is in nsmc_methods.py.

    python -m benchmarks.seeds mnist SOURCE
    python -m benchmarks.seeds iris|diabetes

Each reads, learns, answers its held-out rows, and prints what it came to as JSON.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

SPLITS = 20


def mnist(source: str) -> dict[str, Any]:
    """Take the label of the nearest training picture, by the distance between pixels."""
    import faiss

    from workloads.mnist.workload import Mnist

    pictures: dict[str, list[np.ndarray]] = {"train": [], "holdout": []}
    labels: dict[str, list[np.ndarray]] = {"train": [], "holdout": []}
    workload = Mnist()
    for rows in workload.load(source, workload.parse({})):
        split = rows.batch.column("split")[0].as_py()
        pixels = b"".join(rows.batch.column("image").to_pylist())
        pictures[split].append(np.frombuffer(pixels, np.uint8).reshape(rows.batch.num_rows, -1))
        labels[split].append(rows.batch.column("label").to_numpy())
    known, asked = (np.concatenate(pictures[split]).astype(np.float32) for split in ("train", "holdout"))
    index = faiss.IndexFlatL2(known.shape[1])
    index.add(known)
    _, nearest = index.search(asked, 1)
    right = np.concatenate(labels["train"])[nearest[:, 0]] == np.concatenate(labels["holdout"])
    return {"accuracy": float(right.mean())}


def iris() -> dict[str, Any]:
    """Fit a support vector machine on measurements as they are; the mean over random splits."""
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    flowers, species = load_iris(return_X_y=True)
    found = []
    for number in range(SPLITS):
        train, test, known, wanted = train_test_split(flowers, species, test_size=0.2, random_state=number)
        found.append(float(SVC().fit(train, known).score(test, wanted)))
    return {"accuracy": float(np.mean(found))}


def diabetes() -> dict[str, Any]:
    """Fit a line over the body mass index: scikit-learn's own example, and the mean over random splits."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import mean_squared_error, r2_score
    from sklearn.model_selection import train_test_split

    patients, progression = load_diabetes(return_X_y=True)
    one = patients[:, [2]]

    def scores(train: Any, test: Any, known: Any, wanted: Any) -> tuple[float, float]:
        answers = LinearRegression().fit(train, known).predict(test)
        return float(mean_squared_error(wanted, answers)), float(r2_score(wanted, answers))

    example = scores(one[:-20], one[-20:], progression[:-20], progression[-20:])
    splits = [
        scores(*train_test_split(one, progression, test_size=0.2, random_state=n)) for n in range(SPLITS)
    ]
    mse, r2 = np.mean(splits, axis=0)
    return {"example mse": example[0], "example r2": example[1], "mse": float(mse), "r2": float(r2)}


def main() -> None:
    """Run one of them and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workload", choices=["mnist", "iris", "diabetes"])
    parser.add_argument("source", nargs="?", default="")
    given = parser.parse_args()
    told = {"iris": iris, "diabetes": diabetes}.get(given.workload)
    print(json.dumps(told() if told else mnist(given.source)))


if __name__ == "__main__":
    main()
