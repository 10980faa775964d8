"""The misclassified images with the highest certainty: they show weaknesses of the model or wrong labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from continuous_training.evaluation.predictions import Predictions

MAX_ERRORS = 24


@dataclass(frozen=True)
class Misclassification:
    """A row with a wrong prediction: `image` is uint8 [height, width] or [height, width, 3].

    `champion` is the champion's prediction, and `certainty` the challenger's (greater is more certain).
    """

    key: str
    actual: str
    predicted: str
    champion: str | None
    certainty: float | None
    image: np.ndarray


def select_worst(count: int, certainty: np.ndarray | None) -> np.ndarray:
    """Return the indices of the errors with the highest certainty, in descending order.

    There are `count` errors. Without a certainty, the order is that of the rows.
    """
    order = np.arange(count) if certainty is None else np.argsort(-certainty, kind="stable")
    return order[:MAX_ERRORS]


def worst_errors(
    predictions: Predictions,
    rows: np.ndarray,
    keys: Sequence[object],
    images: np.ndarray,
    certainty: np.ndarray | None,
) -> list[Misclassification]:
    """Return the misclassifications of the rows with these indices.

    `keys`, `images` and `certainty` have one entry for each of `rows`.
    """
    champion = predictions.champion
    return [
        Misclassification(
            key=str(keys[index]),
            actual=str(predictions.actual[row]),
            predicted=str(predictions.challenger[row]),
            champion=None if champion is None else str(champion[row]),
            certainty=None if certainty is None else float(certainty[index]),
            image=images[index],
        )
        for index, row in enumerate(rows.tolist())
    ]
