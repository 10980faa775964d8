"""The handler of the workload diabetes: the progression of a patient's disease after a year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..handler import Handler, Tensor, Tensors
from ..tabular_requests import LARGEST, read_rows

FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


class DiabetesHandler(Handler):
    """Predicts the progression. Requests have all ten measurements, even if the model uses only one.

    A request is `{"patient": {"age": ..., ..., "s6": ...}}` or `{"patients": [patient, ...]}`. The response
    is `{"progression": [...]}`, one number per patient, in the unit of the label column.
    """

    inputs = (Tensor("features", "FP64", (-1, len(FEATURES)), minimum=-LARGEST, maximum=LARGEST),)
    outputs = (Tensor("progression", "FP64", (-1,)),)

    def load(self, folder: Path) -> None:
        """Load the linear model (ONNX)."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def preprocess(self, request: Any) -> Tensors:
        """Return the measurements of the request: float64 [n, 10]."""
        return {"features": read_rows(request, "patient", "patients", FEATURES)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Run the linear model."""
        (output,) = self.session.run(None, {"features": tensors["features"]})
        return {"progression": output[:, 0]}

    def postprocess(self, tensors: Tensors) -> Any:
        """Return a response with one number per patient."""
        return {"progression": tensors["progression"].tolist()}
