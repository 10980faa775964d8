"""The reference: Flask with the model in the handler, as most people begin."""

import os
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request

from continuous_training.serving.models.model import load_model

app = Flask(__name__)
model = load_model(Path(os.environ["MODEL"]))


@app.post("/predict")
def predict() -> Any:
    """Answer one request in the workload's own words."""
    try:
        return jsonify(model.predict(request.get_json()))
    except ValueError as error:
        return jsonify(error=str(error)), 400


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
