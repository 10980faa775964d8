"""The handler of the benchmark's table of texts, categories and missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors

CITIES = tuple(f"city{number}" for number in range(10))
FEATURES = 4 + len(CITIES)


def features(amount: Any, area: Any, grade: Any, note_lengths: Any, cities: Any) -> np.ndarray:
    """Return the features of rows: float64 [rows, FEATURES]. `cities` are indices in CITIES."""
    is_city = np.asarray(cities)[:, None] == np.arange(len(CITIES))
    return np.column_stack([amount, area, grade, note_lengths, is_city]).astype(np.float64)


class MixedHandler(Handler):  # type: ignore[misc]
    """Predicts a price from numbers, a category and the length of a text."""

    inputs = (Tensor("features", "FP64", (-1, FEATURES)),)
    outputs = (Tensor("price", "FP64", (-1,)),)

    def load(self, folder: Path) -> None:
        """Load the weights."""
        self.weights = np.load(folder / "weights.npy")

    def preprocess(self, request: Any) -> Tensors:
        """Return the features of the request's row."""
        amount, area, grade = ([request[name]] for name in ("amount", "area", "grade"))
        lengths, cities = [len(request["note"])], [CITIES.index(request["city"])]
        return {"features": features(amount, area, grade, lengths, cities)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Return the weighted sums."""
        return {"price": tensors["features"] @ self.weights}

    def postprocess(self, tensors: Tensors) -> Any:
        """Return the price."""
        return {"price": tensors["price"].tolist()}
