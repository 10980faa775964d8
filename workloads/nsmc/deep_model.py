"""Trains the deep model with torch and writes it as ONNX; torch is imported when it is wanted, not before."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..contract import Progress
from .ngrams import ngrams
from .tokens import tokens

TOGETHER = 128
"""Texts a step."""

RATE = 2e-3
WARM_UP = 200
"""Steps in which the step size rises to RATE; then it falls in a straight line to 0."""

_NEIGHBOURS = 50
"""So many batches' texts are sorted by length, for less padding."""


def train_deep(
    texts: list[str], labels: np.ndarray, passes: int, seed: int, progress: Progress
) -> tuple[bytes, list[dict[str, float]]]:
    """Return the ONNX graph of a network trained on `texts` and `labels` (0 or 1), and the learning curve.

    The graph takes `characters` and `bigrams`, int64 [texts, places], and gives `score`, float32 [texts].
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from .network import Network

    torch.manual_seed(seed)
    network, rng = Network(), np.random.default_rng(seed)
    tables = [network.characters.weight, network.bigrams.weight]
    others = [one for name, one in network.named_parameters() if name.split(".")[0] in ("filters", "out")]
    # Only the rows of a table that a batch has used are touched: the rest of a pass would be spent on zeros.
    optimisers = [torch.optim.SparseAdam(tables, lr=RATE), torch.optim.AdamW(others, lr=RATE)]
    total, step = passes * len(texts), 0
    curve = []
    for number in range(1, passes + 1):
        loss = right = 0.0
        for turn, places in enumerate(_batches(texts, rng), 1):
            done = (number - 1) * len(texts) + turn * TOGETHER
            rate = RATE * min(1.0, (step + 1) / WARM_UP) * max(1 - done / total, 0.01)
            for optimiser in optimisers:
                optimiser.zero_grad()
                optimiser.param_groups[0]["lr"] = rate
            characters, bigrams = tokens(*ngrams([texts[place] for place in places]))
            wanted = torch.from_numpy(labels[places].astype(np.float32))
            scores = network(torch.from_numpy(characters), torch.from_numpy(bigrams))
            error = binary_cross_entropy_with_logits(scores, wanted)
            error.backward()
            for optimiser in optimisers:
                optimiser.step()
            step += 1
            loss += float(error.detach()) * len(places)
            right += int(((scores.detach() > 0) == (wanted > 0)).sum())
            if step % 200 == 0:
                progress(
                    f"pass {number} of {passes}, {turn * TOGETHER:,} texts: loss {loss / turn / TOGETHER:.3f}"
                )
        curve.append({"step": number, "loss": loss / len(texts), "error": 1 - right / len(texts)})
    return _onnx(network.eval()), curve


def _batches(texts: list[str], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the places of all texts in random batches, each of texts of about one length."""
    order, lengths = rng.permutation(len(texts)), np.array([len(text) for text in texts])
    batches = []
    for first in range(0, len(order), TOGETHER * _NEIGHBOURS):
        some = order[first : first + TOGETHER * _NEIGHBOURS]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[i : i + TOGETHER] for i in range(0, len(some), TOGETHER)]
    for place in rng.permutation(len(batches)):
        yield batches[place]


def _onnx(network: Any) -> bytes:
    import torch

    buffer: Any = io.BytesIO()
    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in range(2))
    axes = {name: {0: "texts", 1: "places"} for name in ("characters", "bigrams")}
    with warnings.catch_warnings():
        # The exporter that follows this one needs a package more, and gives the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            example,
            buffer,
            input_names=["characters", "bigrams"],
            output_names=["score"],
            dynamic_axes=axes | {"score": {0: "texts"}},
            dynamo=False,
        )
    return buffer.getvalue()
