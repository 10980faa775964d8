"""Train the fast model out of core: a linear model with one weight per hashed n-gram.

The weights start at the log-count ratios of naive Bayes, and logistic regression corrects them with larger
steps for more informative n-grams. The idea is from Wang and Manning, "Baselines and Bigrams" (ACL 2012).
Here the ratios are the initial weights and the step sizes, not the scale of the features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import pyarrow as pa

from ..contract import Progress
from .ngrams import BUCKETS, ngrams

SMOOTHING = 1.0
INITIAL_SHARE = 0.7
"""The initial weights are this share of the log-count ratios."""

LEARNING_RATE = 3.0
BATCH = 64
"""Number of texts per step."""


@dataclass(frozen=True)
class Block:
    """The n-grams of some texts as `ngrams` returns them, and the labels: 1 for positive, -1 for negative."""

    buckets: np.ndarray
    starts: np.ndarray
    signs: np.ndarray


class Spool:
    """Stores blocks in a file and reads them one at a time, so that memory use is constant."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._offsets: list[int] = []
        self.texts = 0

    def add(self, block: Block) -> None:
        """Append a block to the file."""
        self._offsets.append(self._file.seek(0, 2))
        for array in (block.buckets, block.starts, block.signs):
            np.save(self._file, array, allow_pickle=False)
        self.texts += len(block.signs)

    def shuffled(self, rng: np.random.Generator) -> Iterator[Block]:
        """Yield each block once, in random order."""
        for offset in rng.permutation(self._offsets):
            self._file.seek(int(offset))
            yield Block(*(np.load(self._file, allow_pickle=False) for _ in range(3)))


def train_fast(
    batches: Iterable[pa.RecordBatch], passes: int, seed: int, folder: Path, progress: Progress
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return the weight of each bucket (float32, above zero for the class positive) and the learning curve.

    `batches` have the columns `document` and `label` (0 or 1) and are read once. Their n-grams are stored in
    a temporary file in `folder`.
    """
    rng = np.random.default_rng(seed)
    with TemporaryFile(dir=folder) as file:
        spool = Spool(file)
        counts = _count(batches, spool, rng)
        ratios = _log_count_ratios(counts)
        progress(f"n-grams of {spool.texts:,} texts counted")
        weights, step_sizes = INITIAL_SHARE * ratios, np.abs(ratios)
        curve = []
        for number in range(1, passes + 1):
            loss = correct = 0.0
            processed = (number - 1) * spool.texts
            for block in spool.shuffled(rng):
                margins = _update_weights(block, weights, step_sizes, processed, passes * spool.texts, rng)
                loss += float(np.logaddexp(0, -margins).sum())
                correct += int((margins > 0).sum())
                processed += len(margins)
            point = {"step": number, "loss": loss / spool.texts, "error": 1 - correct / spool.texts}
            curve.append(point)
            accuracy = correct / spool.texts
            progress(f"pass {number} of {passes}: accuracy {accuracy:.1%}, measured before each update")
    return weights, curve


def _count(batches: Iterable[pa.RecordBatch], spool: Spool, rng: np.random.Generator) -> np.ndarray:
    """Spool all texts. Return the n-gram counts of negative and of positive texts: [2, buckets]."""
    counts = np.zeros((2, BUCKETS), dtype=np.float32)
    for batch in batches:
        order = rng.permutation(batch.num_rows)
        texts, labels = batch.column("document").to_pylist(), batch.column("label").to_numpy()[order]
        buckets, starts = ngrams([texts[i] for i in order])
        spool.add(Block(buckets, starts.astype(np.int32), (2 * labels - 1).astype(np.float32)))
        positive = np.repeat(labels == 1, np.diff(starts, append=buckets.shape[1]))
        for label, mask in enumerate((~positive, positive)):
            counts[label] += np.bincount(buckets[:, mask].ravel(), minlength=BUCKETS)
    counts[:, 0] = 0
    return counts


def _log_count_ratios(counts: np.ndarray) -> np.ndarray:
    """Return the logarithm of each bucket's share in positive texts divided by that in negative texts."""
    frequencies = counts + np.float32(SMOOTHING)
    frequencies /= frequencies.sum(axis=1, keepdims=True, dtype=np.float64)
    ratios = np.log(frequencies[1] / frequencies[0])
    ratios[0] = 0
    return np.asarray(ratios, dtype=np.float32)


def _update_weights(
    block: Block,
    weights: np.ndarray,
    step_sizes: np.ndarray,
    processed: int,
    total: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Update `weights` by gradient descent on batches of the block. Return the margins before the updates.

    The learning rate falls linearly from LEARNING_RATE to 0 while `processed` texts become `total`.
    """
    count, (orders, size) = len(block.signs), block.buckets.shape
    ends = np.append(block.starts, size)
    roots = np.sqrt(orders * np.diff(ends), dtype=np.float32)
    margins = np.empty(count, dtype=np.float32)
    batch_starts = np.arange(0, count, BATCH)
    for number, first in enumerate(rng.permutation(batch_starts)):
        last = min(first + BATCH, count)
        begin, end = ends[first], ends[last]
        buckets = block.buckets[:, begin:end].ravel()
        sums = np.add.reduceat(weights[buckets].reshape(orders, -1).sum(axis=0), ends[first:last] - begin)
        signs = block.signs[first:last]
        margin = margins[first:last] = sums / roots[first:last] * signs
        rate = LEARNING_RATE * (1 - (processed + number * BATCH) / total)
        gradients = np.float32(rate) * signs / (1 + np.exp(np.minimum(margin, 80))) / roots[first:last]
        updates = np.tile(np.repeat(gradients, np.diff(ends[first : last + 1])), orders)
        updates *= step_sizes[buckets]
        np.add.at(weights, buckets, updates)
    return margins
