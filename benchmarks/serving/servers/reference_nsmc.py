"""The reference for nsmc: Flask, and scikit-learn's vectoriser and naive Bayes from a joblib file."""

import os
from typing import Any

import joblib
from flask import Flask, jsonify, request

LABELS = ("negative", "positive")

app = Flask(__name__)
vectoriser, classifier = joblib.load(os.environ["REFERENCE_MODEL"])


@app.post("/predict")
def predict() -> Any:
    """Return the predictions for `{"text": [...]}`."""
    probabilities = classifier.predict_proba(vectoriser.transform(request.get_json()["text"]))
    rows = zip(probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist(), strict=True)
    predictions = [{"label": LABELS[label], "probability": probability} for label, probability in rows]
    return jsonify(predictions=predictions, model="fast")


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]))
