"""The methods that benchmarks/nsmc.py compares, each in a separate process.

    python -m benchmarks.nsmc_methods reference|fast|both SOURCE [--latency]

Each method trains on one file, predicts the other, and prints its accuracy as JSON. With `--latency`, it also
prints the milliseconds for one review, from text to label, after a warm-up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REVIEWS = 1000


def reference(source: Path, latency: bool) -> dict[str, Any]:
    """Run the reference implementation: naive Bayes on the counts of the 100,000 most frequent words."""
    import pandas as pd
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    train, test = (
        pd.read_csv(next(source.glob(f"ratings_{part}.txt*")), sep="\t").dropna()
        for part in ("train", "test")
    )
    vectoriser = CountVectorizer(max_features=100_000)
    model = MultinomialNB().fit(vectoriser.fit_transform(train["document"]), train["label"])
    right = model.predict(vectoriser.transform(test["document"])) == test["label"].to_numpy()
    metrics: dict[str, Any] = {"accuracy": float(right.mean())}
    if latency:
        texts = test["document"].tolist()[:REVIEWS]
        metrics["one review, ms"] = _median(texts, lambda text: model.predict(vectoriser.transform([text])))
        metrics["featurise, ms"] = _median(texts, lambda text: vectoriser.transform([text]))
    return metrics


def train_workload(source: Path, latency: bool, model: str) -> dict[str, Any]:
    """Run the workload's own reading, training and handler."""
    import numpy as np
    import pyarrow as pa

    from benchmarks.raw_rows import read_raw_rows
    from workloads.nsmc.workload import Nsmc

    workload = Nsmc()
    values = workload.parse({"model": model})
    table = read_raw_rows(workload, str(source), values)
    is_holdout = np.array(table["split"]) == "holdout"
    train, holdout = table.filter(pa.array(~is_holdout)), table.filter(pa.array(is_holdout))
    handler = workload.handler()
    with tempfile.TemporaryDirectory() as folder:
        workload.train(train, values, Path(folder), lambda _: None)
        handler.load(Path(folder))
    labels, metrics = holdout["label"].to_numpy(), {}
    tensors = workload.tensors(holdout)
    answers = handler.inference(tensors)["label"]
    metrics["accuracy"] = float((answers == labels).mean())
    if model == "both":
        metrics |= _against_fast(
            labels, answers, handler.inference(tensors | {"fast": ~tensors["fast"]})["label"]
        )
    if latency:
        texts = holdout["document"].to_pylist()[:REVIEWS]
        metrics["one review, ms"] = _median(texts, lambda text: handler.handle([{"body": {"text": [text]}}]))
    return metrics


def _against_fast(labels: Any, deep: Any, fast: Any) -> dict[str, Any]:
    from continuous_training.evaluation.bootstrap import paired_improvement
    from continuous_training.evaluation.metrics import METRICS

    metric = next(candidate for candidate in METRICS["classification"] if candidate.name == "accuracy")
    gain = paired_improvement(metric, labels, deep, fast, 0)
    return {"fast": float((fast == labels).mean()), "gain": [gain.value, gain.low, gain.high]}


def _median(texts: list[str], answer: Callable[[str], Any]) -> float:
    """Return the median time of a prediction in milliseconds."""
    milliseconds = []
    for text in texts:
        started = time.perf_counter()
        answer(text)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return statistics.median(milliseconds)


def main() -> None:
    """Run one method and print its metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("method", choices=["reference", "fast", "both"])
    parser.add_argument("source", type=Path)
    parser.add_argument("--latency", action="store_true")
    arguments = parser.parse_args()
    metrics = (
        reference(arguments.source, arguments.latency)
        if arguments.method == "reference"
        else train_workload(arguments.source, arguments.latency, arguments.method)
    )
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
