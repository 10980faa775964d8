"""Fine-tune a Hugging Face checkpoint of a sequence classifier, and export it as ONNX."""

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

BATCH = 32
LEARNING_RATE = 3e-5
MAX_LENGTH = 128
"""Maximum number of pieces of a text. Longer texts are truncated."""


def train_checkpoint(
    checkpoint: str,
    texts: list[str],
    labels: np.ndarray,
    passes: int,
    seed: int,
    progress: Progress,
) -> tuple[bytes, dict[str, Any], list[dict[str, float]]]:
    """Return the ONNX graph, the fields of its `WordPiece`, and the learning curve.

    `checkpoint` is a folder or a name in the hub. With zero passes, it is exported unchanged. The inputs of
    the graph are `pieces` and `mask`, int64 [texts, pieces]; its output is `score`, float32 [texts]. Raises
    UserError if the checkpoint cannot be loaded, has a tokenizer other than WordPiece, or does not have two
    classes.
    """
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(seed)
    model, pieces = _load(checkpoint, passes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    rng, curve = np.random.default_rng(seed), []
    total, processed = passes * len(texts), 0
    model.train()
    for number in range(1, passes + 1):
        loss = 0.0
        order = rng.permutation(len(texts))
        for first in range(0, len(order), BATCH):
            indices = order[first : first + BATCH]
            numbers, mask = map(torch.from_numpy, pieces([texts[i] for i in indices]))
            logits = model(input_ids=numbers, attention_mask=mask).logits
            batch_loss = cross_entropy(logits, torch.from_numpy(labels[indices]))
            optimiser.zero_grad()
            batch_loss.backward()
            optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - processed / total)
            optimiser.step()
            processed += len(indices)
            loss += float(batch_loss.detach()) * len(indices)
            if first % (BATCH * 50) == 0:
                progress(f"pass {number} of {passes}, {first:,} texts: loss {float(batch_loss.detach()):.3f}")
        curve.append({"step": number, "loss": loss / len(texts)})
    return _onnx(model.eval()), asdict(pieces), curve


def _load(checkpoint: str, passes: int) -> tuple[Any, WordPiece]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    # Training replaces a head of another size. Without training, the head must already have two classes.
    options = {"num_labels": 2, "ignore_mismatched_sizes": True} if passes else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, use_fast=True)
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype="float32", **options)
    except (OSError, ValueError) as error:
        cause = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"checkpoint {checkpoint}: cannot be loaded ({cause}). If the hub cannot be reached, download "
            "the checkpoint on another machine (hf download NAME --local-dir DIR) and pass the folder with "
            "config.json, model.safetensors and the tokenizer's files: checkpoint=DIR"
        ) from None
    if model.config.num_labels != 2:
        raise UserError(
            f"checkpoint {checkpoint}: it has {model.config.num_labels} classes, not 2 (negative, positive); "
            "fine-tune it: deep_passes=1"
        )
    return model, _wordpiece(checkpoint, tokenizer, model)


def _wordpiece(checkpoint: str, tokenizer: Any, model: Any) -> WordPiece:
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    normalizer = description["normalizer"] or {}
    if description["model"]["type"] != "WordPiece" or normalizer.get("type") != "BertNormalizer":
        raise UserError(
            f"checkpoint {checkpoint}: the tokenizer {description['model']['type']} is not supported; use a "
            "checkpoint of BERT's family (WordPiece), such as BERT, DistilBERT or ELECTRA"
        )
    lowercase = bool(normalizer["lowercase"])
    accents = normalizer["strip_accents"]
    return WordPiece(
        vocabulary=description["model"]["vocab"],
        begin=tokenizer.cls_token_id,
        end=tokenizer.sep_token_id,
        pad=tokenizer.pad_token_id,
        unknown=tokenizer.unk_token_id,
        longest=min(MAX_LENGTH, model.config.max_position_embeddings),
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else bool(accents),
        split_ideographs=bool(normalizer["handle_chinese_chars"]),
    )


def _onnx(model: Any) -> bytes:
    import torch

    class Score(torch.nn.Module):
        """The log-odds of the class positive."""

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
