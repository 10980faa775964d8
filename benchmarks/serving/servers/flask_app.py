"""Flask with the model in the request handler, a typical first implementation."""

import os
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request

from continuous_training.serving.models.model import load_model

app = Flask(__name__)
model = load_model(Path(os.environ["MODEL"]))


@app.post("/predict")
def predict() -> Any:
    """Return the prediction for one request in the request format of the workload."""
    try:
        return jsonify(model.predict(request.get_json()))
    except ValueError as error:
        return jsonify(error=str(error)), 400


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
