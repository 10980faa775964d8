"""MLServer, as a custom runtime of the Open Inference Protocol v2."""

import os
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from continuous_training.serving.models.model import load_model

_DTYPES = {"FP32": "float32", "FP64": "float64", "INT64": "int64", "BOOL": "bool", "BYTES": "object"}


class Predictor(MLModel):
    """Runs inference with the archive's own handler."""

    async def load(self) -> bool:
        """Load the model from its unpacked folder."""
        self.loaded = load_model(Path(os.environ["MODEL"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run one inference."""
        tensors = {
            tensor.name: np.array(tensor.data.root, dtype=_DTYPES[tensor.datatype]).reshape(tensor.shape)
            for tensor in payload.inputs
        }
        outputs = self.loaded.infer(tensors)
        written = [
            ResponseOutput(
                name=output.name,
                datatype=output.datatype,
                shape=list(outputs[output.name].shape),
                data=outputs[output.name].ravel().tolist(),
            )
            for output in self.loaded.outputs
        ]
        return InferenceResponse(model_name=self.name, outputs=written)
