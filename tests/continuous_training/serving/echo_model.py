"""A model with an input of each datatype, whose outputs are equal to its inputs."""

from __future__ import annotations

import json
from pathlib import Path

from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES

HANDLER = """
import numpy as np


class Echo:
    def load(self, folder):
        pass

    def preprocess(self, request):
        if request != {}:
            raise ValueError("send tensors with the Open Inference Protocol")
        return {"FP32": np.zeros((1, 2), np.float32)}

    def inference(self, tensors):
        return {f"{name}_echo": array for name, array in tensors.items()}

    def postprocess(self, tensors):
        return {}
"""


def make_echo(root: Path, name: str = "echo") -> Archive:
    """Write the archive. Each input has the shape [-1, 2] and is named after its datatype."""
    bundle = root / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "echo.py").write_text(HANDLER)
    inputs = [{"name": datatype, "datatype": datatype, "shape": [-1, 2]} for datatype in NUMPY_DTYPES]
    metadata = {
        "name": name,
        "handler": "echo:Echo",
        "inputs": inputs,
        "outputs": [{**tensor, "name": f"{tensor['name']}_echo"} for tensor in inputs],
    }
    (bundle / "model.json").write_text(json.dumps(metadata))
    golden = GoldenSet.from_json([{"request": {}, "answer": {}}])
    return archive_writer.write(bundle, root / "archives", golden=golden, provenance={})
