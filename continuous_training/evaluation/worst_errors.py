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


def worst_errors(
    predictions: Predictions, keys: Sequence[object], images: np.ndarray, certainty: np.ndarray | None
) -> list[Misclassification]:
    """Return the misclassifications with the highest certainty, in descending order.

    `keys`, `images` and `certainty` have one entry per row of `predictions.wrong_rows()`. Without a
    certainty, the order is that of the rows.
    """
    rows = predictions.wrong_rows()
    order = np.arange(len(rows)) if certainty is None else np.argsort(-certainty, kind="stable")
    champion = predictions.champion
    return [
        Misclassification(
            key=str(keys[index]),
            actual=str(predictions.actual[rows[index]]),
            predicted=str(predictions.challenger[rows[index]]),
            champion=None if champion is None else str(champion[rows[index]]),
            certainty=None if certainty is None else float(certainty[index]),
            image=images[index],
        )
        for index in order[:MAX_ERRORS].tolist()
    ]
