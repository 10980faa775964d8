"""A model with an input of every datatype, which answers each input with itself."""

from __future__ import annotations

import json
from pathlib import Path

from continuous_training.artifacts import archive
from continuous_training.artifacts.archive import Archive
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.serving.api.tensors import DTYPES

HANDLER = """
import numpy as np


class Echo:
    def load(self, folder):
        pass

    def preprocess(self, request):
        if request != {}:
            raise ValueError("ask with tensors, by the protocol")
        return {"FP32": np.zeros((1, 2), np.float32)}

    def inference(self, tensors):
        return {f"{name}_again": array for name, array in tensors.items()}

    def postprocess(self, tensors):
        return {}
"""


def make_echo(root: Path, name: str = "echo") -> Archive:
    """Archive it; its inputs are named after their datatypes, each of the shape [-1, 2]."""
    bundle = root / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "echo.py").write_text(HANDLER)
    inputs = [{"name": datatype, "datatype": datatype, "shape": [-1, 2]} for datatype in DTYPES]
    metadata = {
        "name": name,
        "handler": "echo:Echo",
        "inputs": inputs,
        "outputs": [{**tensor, "name": f"{tensor['name']}_again"} for tensor in inputs],
    }
    (bundle / "model.json").write_text(json.dumps(metadata))
    golden = [{"request": {}, "answer": {}}]
    return archive.write(bundle, root / "archives", golden=GoldenSet.from_json(golden), provenance={})
