"""Train the deep model with torch and export it as ONNX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..contract import Progress
from .ngrams import ngrams
from .tokens import tokens

BATCH = 128
"""Number of texts per step."""

LEARNING_RATE = 2e-3
WARM_UP = 200
"""Number of steps in which the learning rate rises to LEARNING_RATE. It then falls linearly to 0."""

_SORTED_BATCHES = 50
"""Number of batches whose texts are sorted by length together, to reduce padding."""


def train_deep(
    texts: list[str], labels: np.ndarray, passes: int, seed: int, progress: Progress
) -> tuple[bytes, list[dict[str, float]]]:
    """Return the ONNX graph of a network trained on `texts` and `labels` (0 or 1), and the learning curve.

    The inputs of the graph are `characters` and `bigrams`, int64 [texts, positions]; its output is `score`,
    float32 [texts].
    """
    # Workloads are imported in processes that have no torch.
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from .network import Network

    torch.manual_seed(seed)
    network, rng = Network(), np.random.default_rng(seed)
    tables = [network.characters.weight, network.bigrams.weight]
    dense_weights = [
        weights for name, weights in network.named_parameters() if name.split(".")[0] in ("filters", "out")
    ]
    # SparseAdam updates only the rows of the tables that a batch uses, which saves most of the time.
    optimisers = [
        torch.optim.SparseAdam(tables, lr=LEARNING_RATE),
        torch.optim.AdamW(dense_weights, lr=LEARNING_RATE),
    ]
    total, step = passes * len(texts), 0
    curve = []
    for number in range(1, passes + 1):
        loss = correct = 0.0
        for count, indices in enumerate(_batches(texts, rng), 1):
            processed = (number - 1) * len(texts) + count * BATCH
            rate = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * max(1 - processed / total, 0.01)
            for optimiser in optimisers:
                optimiser.zero_grad()
                optimiser.param_groups[0]["lr"] = rate
            characters, bigrams = tokens(*ngrams([texts[i] for i in indices]))
            targets = torch.from_numpy(labels[indices].astype(np.float32))
            scores = network(torch.from_numpy(characters), torch.from_numpy(bigrams))
            batch_loss = binary_cross_entropy_with_logits(scores, targets)
            batch_loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            step += 1
            loss += float(batch_loss.detach()) * len(indices)
            correct += int(((scores.detach() > 0) == (targets > 0)).sum())
            if step % 200 == 0:
                progress(
                    f"pass {number} of {passes}, {count * BATCH:,} texts: loss {loss / count / BATCH:.3f}"
                )
        curve.append({"step": number, "loss": loss / len(texts), "error": 1 - correct / len(texts)})
    return _onnx(network.eval()), curve


def _batches(texts: list[str], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the indices of all texts in random batches. The texts of a batch have similar lengths."""
    order, lengths = rng.permutation(len(texts)), np.array([len(text) for text in texts])
    batches = []
    for first in range(0, len(order), BATCH * _SORTED_BATCHES):
        group = order[first : first + BATCH * _SORTED_BATCHES]
        group = group[np.argsort(lengths[group], kind="stable")]
        batches += [group[i : i + BATCH] for i in range(0, len(group), BATCH)]
    for i in rng.permutation(len(batches)):
        yield batches[i]


def _onnx(network: Any) -> bytes:
    import torch

    buffer: Any = io.BytesIO()
    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in range(2))
    axes = {name: {0: "texts", 1: "places"} for name in ("characters", "bigrams")}
    with warnings.catch_warnings():
        # The newer exporter would add a dependency, and produces the same graph.
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
