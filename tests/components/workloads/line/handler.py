"""The handler of the workload line: points on a line through the origin."""

import json

import numpy as np

from ..handler import Handler, Tensor


class LineHandler(Handler):
    """A request is `{"x": [numbers]}`; the response is `{"y": [numbers]}`."""

    inputs = (Tensor("x", "FP64", (-1,)),)
    outputs = (Tensor("y", "FP64", (-1,)),)

    def load(self, folder):
        self.slope = float(json.loads((folder / "slope.json").read_text()))

    def preprocess(self, request):
        if not isinstance(request, dict) or not isinstance(request.get("x"), list):
            raise ValueError('send {"x": [numbers]}')
        return {"x": np.array(request["x"], dtype=np.float64)}

    def inference(self, tensors):
        return {"y": tensors["x"] * self.slope}

    def postprocess(self, tensors):
        return {"y": tensors["y"].tolist()}
