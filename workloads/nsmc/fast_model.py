"""Trains the fast model: one weight for each hashed n-gram, out of core.

The weights begin at the log-count ratios of naive Bayes and are then corrected by logistic regression, where
a weight moves the faster the more its n-gram tells: the idea of Wang and Manning, "Baselines and Bigrams"
(ACL 2012), with the ratios as a starting point and a step size and not as the features' scale.
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
TRUST = 0.7
"""How much of naive Bayes the weights begin with."""

RATE = 3.0
TOGETHER = 64
"""Texts a step."""


@dataclass(frozen=True)
class Block:
    """Some texts' n-grams as `ngrams` returns them, and their labels: 1 for positive, -1 for negative."""

    buckets: np.ndarray
    starts: np.ndarray
    signs: np.ndarray


class Spool:
    """Blocks in a file, read one at a time, so that memory stays flat."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: list[int] = []
        self.texts = 0

    def add(self, block: Block) -> None:
        """Write a block to the end."""
        self._places.append(self._file.seek(0, 2))
        for array in (block.buckets, block.starts, block.signs):
            np.save(self._file, array, allow_pickle=False)
        self.texts += len(block.signs)

    def shuffled(self, rng: np.random.Generator) -> Iterator[Block]:
        """Yield every block once, in a random order."""
        for place in rng.permutation(self._places):
            self._file.seek(int(place))
            yield Block(*(np.load(self._file, allow_pickle=False) for _ in range(3)))


def train_fast(
    batches: Iterable[pa.RecordBatch], passes: int, seed: int, folder: Path, progress: Progress
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return a weight for each bucket (float32, positive speaks for positive) and the learning curve.

    `batches` hold `document` and `label` (0 or 1) and are read once; what they were turned into is kept in
    `folder` for the while.
    """
    rng = np.random.default_rng(seed)
    with TemporaryFile(dir=folder) as file:
        spool = Spool(file)
        counts = _count(batches, spool, rng)
        ratios = _log_count_ratios(counts)
        progress(f"n-grams of {spool.texts:,} texts counted")
        weights, pace = TRUST * ratios, np.abs(ratios)
        curve = []
        for number in range(1, passes + 1):
            loss = right = 0.0
            done = (number - 1) * spool.texts
            for block in spool.shuffled(rng):
                margins = _learn(block, weights, pace, done, passes * spool.texts, rng)
                loss += float(np.logaddexp(0, -margins).sum())
                right += int((margins > 0).sum())
                done += len(margins)
            point = {"step": number, "loss": loss / spool.texts, "error": 1 - right / spool.texts}
            curve.append(point)
            progress(f"pass {number} of {passes}: {right / spool.texts:.1%} right before they were learned")
    return weights, curve


def _count(batches: Iterable[pa.RecordBatch], spool: Spool, rng: np.random.Generator) -> np.ndarray:
    """Spool every text; return how often each n-gram is in negative and in positive ones: [2, buckets]."""
    counts = np.zeros((2, BUCKETS), dtype=np.float32)
    for batch in batches:
        order = rng.permutation(batch.num_rows)
        texts, labels = batch.column("document").to_pylist(), batch.column("label").to_numpy()[order]
        buckets, starts = ngrams([texts[place] for place in order])
        spool.add(Block(buckets, starts.astype(np.int32), (2 * labels - 1).astype(np.float32)))
        positive = np.repeat(labels == 1, np.diff(starts, append=buckets.shape[1]))
        for label, mask in enumerate((~positive, positive)):
            counts[label] += np.bincount(buckets[:, mask].ravel(), minlength=BUCKETS)
    counts[:, 0] = 0
    return counts


def _log_count_ratios(counts: np.ndarray) -> np.ndarray:
    """Return the logarithm of each bucket's share in positive texts over its share in negative ones."""
    shares = counts + np.float32(SMOOTHING)
    shares /= shares.sum(axis=1, keepdims=True, dtype=np.float64)
    ratios = np.log(shares[1] / shares[0])
    ratios[0] = 0
    return np.asarray(ratios, dtype=np.float32)


def _learn(
    block: Block, weights: np.ndarray, pace: np.ndarray, done: int, total: int, rng: np.random.Generator
) -> np.ndarray:
    """Take a step of gradient descent for every few texts of the block; return their margins before it.

    The step size falls in a straight line from RATE to 0 as `done` texts become `total`.
    """
    count, (orders, size) = len(block.signs), block.buckets.shape
    ends = np.append(block.starts, size)
    roots = np.sqrt(orders * np.diff(ends), dtype=np.float32)
    margins = np.empty(count, dtype=np.float32)
    firsts = np.arange(0, count, TOGETHER)
    for turn, first in enumerate(rng.permutation(firsts)):
        last = min(first + TOGETHER, count)
        begin, end = ends[first], ends[last]
        found = block.buckets[:, begin:end].ravel()
        sums = np.add.reduceat(weights[found].reshape(orders, -1).sum(axis=0), ends[first:last] - begin)
        signs = block.signs[first:last]
        margin = margins[first:last] = sums / roots[first:last] * signs
        rate = RATE * (1 - (done + turn * TOGETHER) / total)
        steps = np.float32(rate) * signs / (1 + np.exp(np.minimum(margin, 80))) / roots[first:last]
        each = np.tile(np.repeat(steps, np.diff(ends[first : last + 1])), orders)
        each *= pace[found]
        np.add.at(weights, found, each)
    return margins
