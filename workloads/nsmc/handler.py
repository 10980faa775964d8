"""Answers for reviews of films: positive or negative, by the fast model or by the deep one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors
from .ngrams import ngrams, summed
from .tokens import tokens
from .wordpiece import WordPiece

LABELS = ("negative", "positive")
USAGE = 'send {"text": ["...", ...]} and, if you like, "do_fast": true or false'
TOGETHER = 256
"""Texts that the deep model sees at once; they are padded to the longest of them."""


class NsmcHandler(Handler):
    """Tells whether reviews are positive, each with its probability, in order.

    A request is `{"text": ["...", ...], "do_fast": true | false}` (`use_fast` will do as well; one text may
    stand without a list). Without `do_fast` the better model of this version answers. The answer is
    `{"predictions": [{"label", "probability"}, ...], "model": "fast" | "deep"}`; the probability is the
    label's own.
    """

    inputs = (Tensor("text", "BYTES", (-1,)), Tensor("fast", "BOOL", (-1,)))
    outputs = (
        Tensor("label", "INT64", (-1,)),
        Tensor("probability", "FP32", (-1,)),
        Tensor("fast", "BOOL", (-1,)),
    )

    def load(self, folder: Path) -> None:
        """Open the fast model's weights, and the deep model's graph (ONNX) where the version has one."""
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        self.answers: list[str] = plan["answers"]
        self.share = float(plan["share"])
        self.weights = np.load(folder / "weights.npy", allow_pickle=False)
        self.session: Any = None
        if "deep" in self.answers:
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
        """Read the texts and the wish for a model from the request."""
        if not isinstance(request, dict) or "text" not in request:
            raise ValueError(USAGE)
        unknown = sorted(map(str, request.keys() - {"text", "do_fast", "use_fast"}))
        if unknown:
            raise ValueError(f"{', '.join(unknown)[:100]}: nothing is known of it; {USAGE}")
        texts = request["text"]
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"text is a list of at least one text; {USAGE}")
        array = np.empty(len(texts), dtype=object)
        array[:] = texts
        return {"text": array, "fast": np.full(len(texts), self._fast(request))}

    def _fast(self, request: dict[str, Any]) -> bool:
        wishes = [request[name] for name in ("do_fast", "use_fast") if request.get(name) is not None]
        if not wishes:
            return "deep" not in self.answers
        if not all(isinstance(wish, bool) for wish in wishes) or len(set(wishes)) > 1:
            raise ValueError("do_fast (or use_fast) is true or false")
        wanted = "fast" if wishes[0] else "deep"
        if wanted not in self.answers:
            raise ValueError(
                f"this version has no {wanted} model: leave do_fast out, and it answers as it can"
            )
        return bool(wishes[0])

    def inference(self, tensors: Tensors) -> Tensors:
        """Score each text by the model that it asks for; rows answer as if they had come alone."""
        texts, fast = tensors["text"], tensors["fast"].astype(bool)
        if len(self.answers) == 1:
            fast = np.full(len(texts), "fast" in self.answers)
        buckets, starts = ngrams(texts.tolist())
        scores = summed(self.weights, buckets, starts)
        if not fast.all():
            deep = np.flatnonzero(~fast)
            scores[deep] *= 1 - self.share
            scores[deep] += self.share * self._deep(texts[deep].tolist())
        positive = 1 / (1 + np.exp(-np.clip(scores, -80, 80)))
        label = scores > 0
        return {
            "label": label.astype(np.int64),
            "probability": np.where(label, positive, 1 - positive).astype(np.float32),
            "fast": fast,
        }

    def _deep(self, texts: list[str]) -> np.ndarray:
        scores = np.empty(len(texts), dtype=np.float32)
        # Texts of a size go together, so that little of what is computed is padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for first in range(0, len(texts), TOGETHER):
            places = order[first : first + TOGETHER]
            (scores[places],) = self.session.run(None, self._read([texts[place] for place in places]))
        return scores

    def _read(self, texts: list[str]) -> Tensors:
        """Return what the deep model's graph takes: a checkpoint's has its own pieces of words."""
        if self.wordpiece:
            return dict(zip(("pieces", "mask"), self.wordpiece(texts), strict=True))
        return dict(zip(("characters", "bigrams"), tokens(*ngrams(texts)), strict=True))

    def postprocess(self, tensors: Tensors) -> Any:
        """List label and probability of each text, and say which model they are from."""
        pairs = zip(tensors["label"].tolist(), tensors["probability"].tolist(), strict=True)
        return {
            "predictions": [{"label": LABELS[label], "probability": sure} for label, sure in pairs],
            "model": "fast" if tensors["fast"][0] else "deep",
        }
