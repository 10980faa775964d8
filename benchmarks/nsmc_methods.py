"""The ways of classifying the corpus that benchmarks/nsmc.py compares, each a whole process.

    python -m benchmarks.nsmc_methods reference|fast|both SOURCE [--latency]

Each reads the two files, learns from one, answers the other, and prints its accuracy as JSON; with
`--latency` also what one review takes, from text to label, in a process that is warm.
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
    """Do as the project that this one began from did: the 100,000 commonest words, and naive Bayes."""
    import pandas as pd
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    train, test = (
        pd.read_csv(next(source.glob(f"ratings_{part}.txt*")), sep="\t").dropna()
        for part in ("train", "test")
    )
    words = CountVectorizer(max_features=100_000)
    model = MultinomialNB().fit(words.fit_transform(train["document"]), train["label"])
    right = model.predict(words.transform(test["document"])) == test["label"].to_numpy()
    told: dict[str, Any] = {"accuracy": float(right.mean())}
    if latency:
        texts = test["document"].tolist()[:REVIEWS]
        told["one review, ms"] = _median(texts, lambda text: model.predict(words.transform([text])))
        told["featurise, ms"] = _median(texts, lambda text: words.transform([text]))
    return told


def ours(source: Path, latency: bool, model: str) -> dict[str, Any]:
    """Do as the workload does, by its own reading, training and handler."""
    import numpy as np
    import pyarrow as pa

    from workloads.nsmc.workload import Nsmc

    workload = Nsmc()
    values = workload.parse({"model": model})
    table = pa.Table.from_batches([rows.batch for rows in workload.load(str(source), values)])
    held = np.array(table["split"]) == "holdout"
    train, holdout = table.filter(pa.array(~held)), table.filter(pa.array(held))
    handler = workload.handler()
    with tempfile.TemporaryDirectory() as folder:
        workload.train(train, values, Path(folder), lambda _: None)
        handler.load(Path(folder))
    labels, told = holdout["label"].to_numpy(), {}
    tensors = workload.tensors(holdout)
    answers = handler.inference(tensors)["label"]
    told["accuracy"] = float((answers == labels).mean())
    if model == "both":
        told |= _against_fast(
            labels, answers, handler.inference(tensors | {"fast": ~tensors["fast"]})["label"]
        )
    if latency:
        texts = holdout["document"].to_pylist()[:REVIEWS]
        told["one review, ms"] = _median(texts, lambda text: handler.handle([{"body": {"text": [text]}}]))
    return told


def _against_fast(labels: Any, deep: Any, fast: Any) -> dict[str, Any]:
    from continuous_training.evaluation.metrics import METRICS, paired_improvement

    metric = next(one for one in METRICS["classification"] if one.name == "accuracy")
    gain = paired_improvement(metric, labels, deep, fast, 0)
    return {"fast": float((fast == labels).mean()), "gain": [gain.value, gain.low, gain.high]}


def _median(texts: list[str], answer: Callable[[str], Any]) -> float:
    """Return the median milliseconds of an answer."""
    taken = []
    for text in texts:
        began = time.perf_counter()
        answer(text)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def main() -> None:
    """Run one method and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("method", choices=["reference", "fast", "both"])
    parser.add_argument("source", type=Path)
    parser.add_argument("--latency", action="store_true")
    given = parser.parse_args()
    told = (
        reference(given.source, given.latency)
        if given.method == "reference"
        else ours(given.source, given.latency, given.method)
    )
    print(json.dumps(told))


if __name__ == "__main__":
    main()
