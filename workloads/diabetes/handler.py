"""Answers for a patient: how far the disease has progressed after a year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..handler import Handler, Tensor, Tensors
from ..record_requests import read_rows

FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


class DiabetesHandler(Handler):
    """Predicts progression from ten measurements, whatever features the model was trained on.

    A request is `{"patient": {"age": ..., ..., "s6": ...}}` or `{"patients": [patient, ...]}`; the answer is
    `{"progression": [...]}`, one number a patient, in the target's own unit.
    """

    inputs = (Tensor("features", "FP64", (-1, len(FEATURES))),)
    outputs = (Tensor("progression", "FP64", (-1,)),)

    def load(self, folder: Path) -> None:
        """Open the linear model (ONNX)."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def preprocess(self, request: Any) -> Tensors:
        """Read one patient or a list of them from the request."""
        return {"features": read_rows(request, "patient", "patients", FEATURES)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Run the linear model."""
        (output,) = self.session.run(None, {"features": tensors["features"]})
        return {"progression": output[:, 0]}

    def postprocess(self, tensors: Tensors) -> Any:
        """List a number for each patient."""
        return {"progression": tensors["progression"].tolist()}
