"""Answers for a patient: how far the disease has progressed after a year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors

FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
LARGEST = 1e100
"""Beyond this a weighted sum may be infinite, for which JSON has no word."""


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
        if not isinstance(request, dict) or list(request) not in (["patient"], ["patients"]):
            raise ValueError(
                f'send {{"patient": {{...}}}} or {{"patients": [...]}} with {", ".join(FEATURES)}'
            )
        patients = [request["patient"]] if "patient" in request else request["patients"]
        if not isinstance(patients, list) or not patients:
            raise ValueError("patients is a list that holds at least one patient")
        return {"features": np.array([_features(patient) for patient in patients], dtype=np.float64)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Run the linear model."""
        (output,) = self.session.run(None, {"features": tensors["features"]})
        return {"progression": output[:, 0]}

    def postprocess(self, tensors: Tensors) -> Any:
        """List a number for each patient."""
        return {"progression": tensors["progression"].tolist()}


def _features(patient: Any) -> list[float]:
    if not isinstance(patient, dict):
        raise ValueError(f"a patient is an object with {', '.join(FEATURES)}")
    wrong = sorted(set(FEATURES) - set(patient)) or sorted(set(patient) - set(FEATURES))
    if wrong:
        raise ValueError(f"a patient has exactly {', '.join(FEATURES)}; look at {', '.join(map(str, wrong))}")
    for name in FEATURES:
        value = patient[name]
        # The comparison is false for NaN, and for a whole number that no float can hold.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise ValueError(f"{name}: {value!r:.100} is not a number (of at most {LARGEST:g})")
    return [float(patient[name]) for name in FEATURES]
