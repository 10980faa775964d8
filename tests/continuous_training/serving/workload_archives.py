"""Archives of trained workloads, and of a toy model that classifies reviews."""

from __future__ import annotations

import json
from pathlib import Path

from toy_models import import_handler

from components.prep_data.step import run as prepare
from components.train.step import run as train
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.artifacts.handler_packaging import copy_handler
from continuous_training.serving.models.model import load_model
from workloads import discovery
from workloads.schemas import exactly, list_of

HANDLER = '''
import numpy as np


class ReviewsHandler:
    """Classifies a text as positive if it contains the word good. The fast model is less certain."""

    def load(self, folder):
        pass

    def preprocess(self, request):
        texts = request.get("text") if isinstance(request, dict) else None
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError('send {"text": ["...", ...]}')
        fast = request.get("do_fast", False)
        if not isinstance(fast, bool) or request.keys() - {"text", "do_fast"}:
            raise ValueError("do_fast must be true or false, and other fields are not allowed")
        return {"text": np.array(texts, dtype=object), "fast": np.full(len(texts), fast)}

    def inference(self, tensors):
        good = np.array(["good" in text.lower() for text in tensors["text"]], dtype=bool)
        certainty = np.where(tensors["fast"], 0.75, 0.95)
        return {"positive": np.where(good, certainty, 1 - certainty)}

    def postprocess(self, tensors):
        return {"predictions": [
            {"label": "positive" if p > 0.5 else "negative", "shares": {"positive": p, "negative": 1 - p}}
            for p in tensors["positive"].tolist()
        ]}
'''

_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
_LABEL = {"enum": ["positive", "negative"], "description": "the sentiment", "x-headline": True}
_REQUEST = exactly(
    text={**list_of({"type": "string"}), "minItems": 1, "description": "the reviews"},
    optional={"do_fast": {"type": "boolean", "default": False, "description": "the fast model"}},
)
_RESPONSE = exactly(
    predictions=list_of(exactly(label=_LABEL, shares=exactly(positive=_PROBABILITY, negative=_PROBABILITY)))
)


def workload_archive(name: str, folder: Path, **values: str) -> Archive:
    """Train a workload with the parameters `values` and write its archive with 20 golden requests."""
    workload = discovery.get(name)
    prepare(workload, values, folder / "data")
    train(workload, {}, folder / "data", folder / "model")
    model, holdout = load_model(folder / "model"), Dataset.open(folder / "data").read("holdout")
    requests = [workload.request(holdout.slice(i, 1)) for i in range(20)]
    rows = [{"request": request, "answer": model.predict(request)} for request in requests]
    return archive_writer.write(
        folder / "model", folder / "store", golden=GoldenSet.from_json(rows), provenance={}
    )


def reviews_archive(folder: Path) -> Archive:
    """Write the archive of the toy model that classifies reviews. Its metadata declares its schemas."""
    files = {"reviews/__init__.py": "", "reviews/handler.py": HANDLER}
    handler = import_handler(folder / "source", files, "reviews.handler", "ReviewsHandler")
    bundle = folder / "bundle"
    copy_handler(handler, bundle)
    metadata = {
        "name": "reviews",
        "summary": "whether a review is a good one",
        "handler": "reviews.handler:ReviewsHandler",
        "inputs": [
            {"name": "text", "datatype": "BYTES", "shape": [-1]},
            {"name": "fast", "datatype": "BOOL", "shape": [-1]},
        ],
        "outputs": [{"name": "positive", "datatype": "FP64", "shape": [-1]}],
        "request_schema": _REQUEST,
        "answer_schema": _RESPONSE,
    }
    (bundle / "model.json").write_text(json.dumps(metadata))
    model = load_model(bundle)
    requests = [
        {"text": ["A good film", "What a waste of an evening"]},
        {"text": ["So good!"], "do_fast": True},
    ]
    rows = [{"request": request, "answer": model.predict(request)} for request in requests]
    return archive_writer.write(bundle, folder / "store", golden=GoldenSet.from_json(rows), provenance={})
