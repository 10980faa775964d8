"""Training in epochs, each of which follows from the seed and the state after the one before."""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contract import Checkpoints, Progress
from ..distributed import SINGLE_PROCESS, ProcessGroup
from .augmentation import draw, vary
from .network import Embedding, Margin
from .pictures import SIDE

BATCH = 128
LEAST_STEPS = 30
"""An epoch goes over few pictures more than once: its steps are what the network learns in."""
_AVERAGE = 0.995
"""How much of the averaged weights is kept at a step; Polyak and Juditsky (1992)."""


@dataclass(frozen=True)
class Recipe:
    """What a training is told: its epochs, the highest learning rate, the margin in radians, and the seed.

    With `half` the forward pass is in bfloat16, twice as fast where the processor has instructions for it.
    """

    epochs: int
    rate: float
    margin: float
    seed: int
    half: bool


class _Learner(nn.Module):
    """The network and its loss as one module, which is what processes can share the work of."""

    def __init__(self, network: nn.Module, loss: nn.Module, half: bool) -> None:
        super().__init__()
        self.network, self.loss, self.short = network, loss, half

    def forward(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the class that each picture is nearest to."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.short):
            points = self.network(pictures)
        loss, nearest = self.loss(points.float(), labels)
        return loss, nearest


class Trainer:
    """Learns an embedding, epoch by epoch; `curve` grows by an entry with each.

    The processes of a `group` perform the same steps, each with its share of the pictures of a step.
    Only how their sums are rounded, and the batch normalisation over a share, differ from one process.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: int,
        recipe: Recipe,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Begin anew: uint8 `images` [n, side, side], int64 `labels` [n] under `classes`."""
        self.images, self.labels, self.recipe = torch.tensor(images), torch.tensor(labels), recipe
        self.group = group
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            # This layout of the weights is the fast one for convolutions on a processor.
            self.network = Embedding()
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.loss = Margin(classes, recipe.margin)
        self.average = deepcopy(self.network)
        self.learner = group.wrap(_Learner(self.network, self.loss, recipe.half))
        weights = [*self.network.parameters(), *self.loss.parameters()]
        # Biases and the scales of normalisation are not decayed, as is usual.
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.01},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, foreach=True)
        self.curve: list[dict[str, float]] = []

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return max(len(self.images) // BATCH, LEAST_STEPS)

    def run(self, progress: Progress, checkpoints: Checkpoints | None = None) -> nn.Module:
        """Train to the last epoch, from the latest checkpoint on; returns the network to use."""
        # What one process finds, all begin with: they could not take their steps together otherwise.
        saved = self.group.broadcast(checkpoints.latest() if checkpoints and self.group.is_first else None)
        if saved:
            self._restore(saved, progress)
        while len(self.curve) < self.recipe.epochs:
            self._epoch(len(self.curve) + 1)
            if checkpoints and self.group.is_first:
                checkpoints.save(self._state())
            right = 1 - self.curve[-1]["error"]
            progress(f"epoch {len(self.curve)} of {self.recipe.epochs}: {right:.2%} right")
        return self.average.eval()

    def _epoch(self, number: int) -> None:
        # An epoch's own generator: one that is resumed draws what it would have drawn.
        chance = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        self.network.train()
        step = (number - 1) * self.steps
        losses = wrong = seen = 0.0
        for chosen in self._batches(chance):
            self._set_rate(step / (self.steps * self.recipe.epochs))
            # All draw for everybody, so that each draws what one process alone would have drawn.
            own = self.group.shard(len(chosen))
            variations, chosen = draw(len(chosen), SIDE, chance).part(own), chosen[own]
            labels = self.labels[chosen]
            loss, nearest = self.learner(vary(self.images[chosen].float(), variations), labels)
            self.optimiser.zero_grad()
            # The mean over processes of what each has per picture is the mean over all pictures.
            (loss * (len(chosen) * self.group.world_size / BATCH)).backward()
            self.optimiser.step()
            step += 1
            self._average(min(_AVERAGE, step / (step + 9)))
            losses += float(loss.detach()) * len(chosen)
            wrong += float((nearest != labels).sum())
            seen += len(chosen)
        losses, wrong, seen = self.group.all_reduce([losses, wrong, seen])
        self.curve.append({"step": number, "loss": losses / seen, "error": wrong / seen})

    def _batches(self, chance: torch.Generator) -> Iterator[Tensor]:
        """Yield the rows of each step, in random order, again and again until the steps are done."""
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(self.steps):
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(self.images), generator=chance)])
            yield order[:BATCH]
            order = order[BATCH:]

    def _set_rate(self, share: float) -> None:
        """Warm up over a fifth of the training, then fall to nothing: Smith and Topin (2018)."""
        position = share / 0.2 if share < 0.2 else 1 + (share - 0.2) / 0.8
        low = 0.1 if position < 1 else 0.001
        height = low + (1 - low) * (1 - np.cos(np.pi * position)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * float(height)

    @torch.no_grad()
    def _average(self, kept: float) -> None:
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        old, new = zip(*((o, n) for o, n in pairs if o.is_floating_point()), strict=True)
        torch._foreach_lerp_(list(old), list(new), 1 - kept)

    def _state(self) -> bytes:
        buffer = io.BytesIO()
        torch.save({"torch": str(torch.__version__), "curve": self.curve, **self._parts()}, buffer)
        return buffer.getvalue()

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, nn.Module | torch.optim.Optimizer] = {
            "network": self.network,
            "average": self.average,
            "loss": self.loss,
            "optimiser": self.optimiser,
        }
        return {name: part.state_dict() for name, part in parts.items()}

    def _restore(self, saved: bytes, progress: Progress) -> None:
        # Tensors and plain values only: nothing in a checkpoint is run.
        state = torch.load(io.BytesIO(saved), weights_only=True)
        if state["torch"] != torch.__version__:
            progress(
                f"the checkpoint is of torch {state['torch']}, not {torch.__version__}: training begins anew"
            )
            return
        for name in self._parts():
            getattr(self, name).load_state_dict(state[name])
        self.curve = state["curve"]
        progress(f"going on after epoch {len(self.curve)}, where a former try was cut off")


def has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 by itself; without, it is slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
