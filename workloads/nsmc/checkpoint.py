"""Trains on from a Hugging Face checkpoint of a sequence classifier, and writes it as ONNX."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np

from continuous_training.core.errors import UserError

from ..contract import Progress
from .wordpiece import WordPiece

TOGETHER = 32
RATE = 3e-5
LONGEST = 128
"""Pieces of a text that are read."""


def train_checkpoint(
    checkpoint: str,
    texts: list[str],
    labels: np.ndarray,
    passes: int,
    seed: int,
    progress: Progress,
) -> tuple[bytes, dict[str, Any], list[dict[str, float]]]:
    """Return the ONNX graph, the fields of its `WordPiece`, and the learning curve.

    `checkpoint` is a folder or a hub's name; with no passes it is served as it is. The graph takes `pieces`
    and `mask`, int64 [texts, pieces], and gives `score`, float32 [texts]. Raises UserError for a checkpoint
    that is not to be had, whose tokenizer is another than WordPiece, or that does not tell two classes apart.
    """
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(seed)
    model, pieces = _load(checkpoint, passes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    rng, curve = np.random.default_rng(seed), []
    total, done = passes * len(texts), 0
    model.train()
    for number in range(1, passes + 1):
        loss = 0.0
        order = rng.permutation(len(texts))
        for first in range(0, len(order), TOGETHER):
            places = order[first : first + TOGETHER]
            numbers, mask = map(torch.from_numpy, pieces([texts[place] for place in places]))
            logits = model(input_ids=numbers, attention_mask=mask).logits
            error = cross_entropy(logits, torch.from_numpy(labels[places]))
            optimiser.zero_grad()
            error.backward()
            optimiser.param_groups[0]["lr"] = RATE * (1 - done / total)
            optimiser.step()
            done += len(places)
            loss += float(error.detach()) * len(places)
            if first % (TOGETHER * 50) == 0:
                progress(f"pass {number} of {passes}, {first:,} texts: loss {float(error.detach()):.3f}")
        curve.append({"step": number, "loss": loss / len(texts)})
    return _onnx(model.eval()), asdict(pieces), curve


def _load(checkpoint: str, passes: int) -> tuple[Any, WordPiece]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    # A head of another size is learned anew; one that is to be served as it is must fit.
    fit = {"num_labels": 2, "ignore_mismatched_sizes": True} if passes else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, use_fast=True)
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype="float32", **fit)
    except (OSError, ValueError) as error:
        what = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"checkpoint {checkpoint}: cannot be had ({what}). Where no hub is reached, download it "
            "elsewhere (hf download NAME --local-dir DIR) and give the folder: checkpoint=DIR; it holds "
            "config.json, model.safetensors and the tokenizer's files"
        ) from None
    if model.config.num_labels != 2:
        raise UserError(
            f"checkpoint {checkpoint}: tells {model.config.num_labels} classes apart, not 2 (negative, "
            "positive); let it learn: deep_passes=1"
        )
    return model, _wordpiece(checkpoint, tokenizer, model)


def _wordpiece(checkpoint: str, tokenizer: Any, model: Any) -> WordPiece:
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = told["normalizer"] or {}
    if told["model"]["type"] != "WordPiece" or rules.get("type") != "BertNormalizer":
        raise UserError(
            f"checkpoint {checkpoint}: its tokenizer is {told['model']['type']}; served are those of BERT's "
            "family (WordPiece), such as BERT, DistilBERT and ELECTRA"
        )
    lowercase = bool(rules["lowercase"])
    accents = rules["strip_accents"]
    return WordPiece(
        vocabulary=told["model"]["vocab"],
        begin=tokenizer.cls_token_id,
        end=tokenizer.sep_token_id,
        pad=tokenizer.pad_token_id,
        unknown=tokenizer.unk_token_id,
        longest=min(LONGEST, model.config.max_position_embeddings),
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else bool(accents),
        split_ideographs=bool(rules["handle_chinese_chars"]),
    )


def _onnx(model: Any) -> bytes:
    import torch

    class Score(torch.nn.Module):
        """The logarithm of the odds for positive."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pieces: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            logits = self.model(input_ids=pieces, attention_mask=mask).logits
            return logits[:, 1] - logits[:, 0]

    buffer: Any = io.BytesIO()
    example = (torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64))
    axes = {name: {0: "texts", 1: "pieces"} for name in ("pieces", "mask")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Score().eval(),
            example,
            buffer,
            input_names=["pieces", "mask"],
            output_names=["score"],
            dynamic_axes=axes | {"score": {0: "texts"}},
            dynamo=False,
        )
    return buffer.getvalue()
