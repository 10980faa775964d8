"""The handler of the benchmark's table of many columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors

WIDTH = 999


class WideHandler(Handler):  # type: ignore[misc]
    """Predicts one number from a row of numbers."""

    inputs = (Tensor("features", "FP64", (-1, WIDTH)),)
    outputs = (Tensor("y", "FP64", (-1,)),)

    def load(self, folder: Path) -> None:
        """Load the weights."""
        self.weights = np.load(folder / "weights.npy")

    def preprocess(self, request: Any) -> Tensors:
        """Return the numbers of the request: float64 [1, WIDTH]."""
        return {"features": np.array([request["row"]], dtype=np.float64)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Return the weighted sums."""
        return {"y": tensors["features"] @ self.weights[:-1] + self.weights[-1]}

    def postprocess(self, tensors: Tensors) -> Any:
        """Return the sum."""
        return {"y": tensors["y"].tolist()}
