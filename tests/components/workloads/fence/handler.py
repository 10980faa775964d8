"""The handler of the workload fence: on which side of the fence numbers are."""

import json

import numpy as np

from ..handler import Handler, Tensor


class FenceHandler(Handler):
    """A request is `{"x": [numbers]}`; the response is `{"label": [0 or 1, ...]}`."""

    inputs = (Tensor("x", "FP64", (-1,)),)
    outputs = (Tensor("label", "INT64", (-1,)),)

    def load(self, folder):
        self.fence = json.loads((folder / "fence.json").read_text())

    def preprocess(self, request):
        if not isinstance(request, dict) or not isinstance(request.get("x"), list):
            raise ValueError('send {"x": [numbers]}')
        return {"x": np.array(request["x"], dtype=np.float64)}

    def inference(self, tensors):
        return {"label": (tensors["x"] >= self.fence).astype(np.int64)}

    def postprocess(self, tensors):
        return {"label": tensors["label"].tolist()}
