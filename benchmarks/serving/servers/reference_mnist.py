"""The reference for mnist: a typical combination of Flask, ONNX Runtime and FAISS."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import onnxruntime
from flask import Flask, jsonify, request

NEIGHBOURS = 10

app = Flask(__name__)
folder = Path(os.environ["MODEL"])
session = onnxruntime.InferenceSession(str(folder / "embedding.onnx"))
index = faiss.read_index(str(folder / "index.faiss"))
labels = json.loads((folder / "labels.json").read_text())


@app.post("/predict")
def predict() -> Any:
    """Return the predictions for `{"image": ...}` or `{"images": [...]}`."""
    body = request.get_json()
    images = body["images"] if "images" in body else [body["image"]]
    (embedded,) = session.run(None, {"image": np.array(images, dtype=np.float32)})
    distances, neighbours = index.search(embedded, NEIGHBOURS)
    predictions = []
    for near, far in zip(neighbours.tolist(), distances.tolist(), strict=True):
        ((label, votes),) = Counter(labels[row] for row in near).most_common(1)
        predictions.append(
            {"label": label, "confidence": votes / NEIGHBOURS, "neighbours": near, "distances": far}
        )
    return jsonify(predictions=predictions)


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
