"""The handler of the workload nsmc: classifies film reviews with the fast or the deep model."""

from __future__ import annotations

import heapq
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors, check_row_count
from .ngrams import ngrams, score
from .tokens import tokens
from .wordpiece import WordPiece

LABELS = ("negative", "positive")
USAGE = 'send {"text": ["...", ...]} and optionally "do_fast": true or false'
DEEP_BATCH = 256
"""Maximum number of texts in one batch of the deep model. A batch is padded to its longest text."""


class NsmcHandler(Handler):
    """Predicts whether reviews are positive or negative.

    A request is `{"text": ["...", ...], "do_fast": true | false}`. `use_fast` is an alias of `do_fast`, and
    `text` may be one string. Without `do_fast`, the version's better model is used. The response is
    `{"predictions": [{"label", "probability"}, ...], "model": "fast" | "deep"}`, with the probability of the
    predicted label.
    """

    inputs = (Tensor("text", "BYTES", (-1,)), Tensor("fast", "BOOL", (-1,)))
    outputs = (
        Tensor("label", "INT64", (-1,)),
        Tensor("probability", "FP32", (-1,)),
        Tensor("fast", "BOOL", (-1,)),
    )

    def load(self, folder: Path) -> None:
        """Load the weights of the fast model, and the graph (ONNX) of the deep model if there is one."""
        configuration = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        self.models: list[str] = configuration["answers"]
        self.share = float(configuration["share"])
        self.weights = np.load(folder / "weights.npy", allow_pickle=False)
        self.session: Any = None
        if "deep" in self.models:
            import onnxruntime

            pieces = folder / "pieces.json"
            self.wordpiece = (
                WordPiece(**json.loads(pieces.read_text(encoding="utf-8"))) if pieces.is_file() else None
            )

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(
                str(folder / "deep.onnx"), options, providers=["CPUExecutionProvider"]
            )

    def preprocess(self, request: Any) -> Tensors:
        """Return the texts of the request, and whether the fast model is requested for each."""
        if not isinstance(request, dict) or "text" not in request:
            raise ValueError(USAGE)
        # Sorting all keys of a large object would hold the interpreter lock for too long.
        unknown = heapq.nsmallest(100, map(str, request.keys() - {"text", "do_fast", "use_fast"}))
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)[:100]}; {USAGE}")
        texts = request["text"]
        texts = [texts] if isinstance(texts, str) else texts
        if isinstance(texts, list):
            check_row_count(texts)
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"text must be a list with at least one string; {USAGE}")
        array = np.empty(len(texts), dtype=object)
        array[:] = texts
        return {"text": array, "fast": np.full(len(texts), self._fast(request))}

    def _fast(self, request: dict[str, Any]) -> bool:
        flags = [request[name] for name in ("do_fast", "use_fast") if request.get(name) is not None]
        if not flags:
            return "deep" not in self.models
        if not all(isinstance(flag, bool) for flag in flags) or len(set(flags)) > 1:
            raise ValueError("do_fast (or use_fast) must be true or false")
        if model := self._missing_model(flags[0]):
            raise ValueError(f"this version has no {model} model: send the request without do_fast")
        return bool(flags[0])

    def _missing_model(self, fast: bool) -> str:
        """Return the name of the model that a flag selects if this version lacks it, or an empty string."""
        model = "fast" if fast else "deep"
        return "" if model in self.models else model

    def check_inputs(self, tensors: Tensors) -> None:
        """Raise ValueError if a flag selects a model that this version lacks."""
        for flag in set(tensors["fast"].tolist()):
            if model := self._missing_model(flag):
                other = str(not flag).lower()
                raise ValueError(f"input 'fast': this version has no {model} model; send {other}")

    def inference(self, tensors: Tensors) -> Tensors:
        """Score each text with the requested model. The result of a row does not depend on the other rows."""
        texts, fast = tensors["text"], tensors["fast"].astype(bool)
        if len(self.models) == 1:
            fast = np.full(len(texts), "fast" in self.models)
        buckets, starts = ngrams(texts.tolist())
        scores = score(self.weights, buckets, starts)
        if not fast.all():
            deep = np.flatnonzero(~fast)
            scores[deep] *= 1 - self.share
            scores[deep] += self.share * self._deep_scores(texts[deep].tolist())
        positive = 1 / (1 + np.exp(-np.clip(scores, -80, 80)))
        label = scores > 0
        return {
            "label": label.astype(np.int64),
            "probability": np.where(label, positive, 1 - positive).astype(np.float32),
            "fast": fast,
        }

    def _deep_scores(self, texts: list[str]) -> np.ndarray:
        scores = np.empty(len(texts), dtype=np.float32)
        # Texts with similar lengths are in the same batch, to reduce padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for first in range(0, len(texts), DEEP_BATCH):
            indices = order[first : first + DEEP_BATCH]
            (scores[indices],) = self.session.run(None, self._deep_inputs([texts[i] for i in indices]))
        return scores

    def _deep_inputs(self, texts: list[str]) -> Tensors:
        """Return the input tensors of the deep model's graph: word pieces if it is a checkpoint."""
        if self.wordpiece:
            return dict(zip(("pieces", "mask"), self.wordpiece(texts), strict=True))
        return dict(zip(("characters", "bigrams"), tokens(*ngrams(texts)), strict=True))

    def postprocess(self, tensors: Tensors) -> Any:
        """Return a response with label and probability of each text, and the name of the model."""
        pairs = zip(tensors["label"].tolist(), tensors["probability"].tolist(), strict=True)
        return {
            "predictions": [
                {"label": LABELS[label], "probability": probability} for label, probability in pairs
            ],
            "model": "fast" if tensors["fast"][0] else "deep",
        }
