"""The handler of the workload iris: the species of a flower, and the probability of each species."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors
from ..tabular_requests import LARGEST, read_rows

MEASUREMENTS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES = ("setosa", "versicolor", "virginica")


class IrisHandler(Handler):
    """Predicts the species from the lengths and widths of sepals and petals, in centimetres.

    A request is `{"flower": {"sepal_length": ..., ...}}` or `{"flowers": [flower, ...]}`. The response is
    `{"predictions": [{"species", "probabilities": {"setosa": ..., ...}}, ...]}`, one prediction per flower.
    The species is the most probable one.
    """

    inputs = (Tensor("measurements", "FP64", (-1, len(MEASUREMENTS)), minimum=-LARGEST, maximum=LARGEST),)
    outputs = (
        Tensor("species", "BYTES", (-1,)),
        Tensor("probabilities", "FP64", (-1, len(SPECIES))),
    )

    def load(self, folder: Path) -> None:
        """Load the scaler and the support vector machine (one ONNX graph)."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def preprocess(self, request: Any) -> Tensors:
        """Return the measurements of the request: float64 [n, 4]."""
        return {"measurements": read_rows(request, "flower", "flowers", MEASUREMENTS)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Return the probabilities and the most probable species of each flower."""
        (probabilities,) = self.session.run(None, {"measurements": tensors["measurements"]})
        species = np.array(SPECIES, dtype=object)[probabilities.argmax(axis=1)]
        return {"species": species, "probabilities": probabilities}

    def postprocess(self, tensors: Tensors) -> Any:
        """Return a response with one prediction per flower."""
        rows = zip(tensors["species"].tolist(), tensors["probabilities"].tolist(), strict=True)
        return {
            "predictions": [
                {"species": species, "probabilities": dict(zip(SPECIES, probabilities, strict=True))}
                for species, probabilities in rows
            ]
        }
