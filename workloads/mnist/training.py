"""Training in epochs. An epoch depends only on the seed and the state after the previous epoch."""

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
from .augmentation import augment, random_transforms
from .network import Embedding, Margin
from .pictures import SIDE

BATCH = 128
MINIMUM_STEPS = 30
"""Minimum number of steps of an epoch. With few images, an epoch goes over them more than once."""
_DECAY = 0.995
"""Decay of the running average of the weights; Polyak and Juditsky (1992)."""


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a training.

    `learning_rate` is the maximum of the schedule, `margin` is in radians. With `bfloat16`, the forward pass
    is in bfloat16: twice as fast on a processor with instructions for it.
    """

    epochs: int
    learning_rate: float
    margin: float
    seed: int
    bfloat16: bool


class _NetworkWithLoss(nn.Module):
    """The network and its loss as one module, as DistributedDataParallel requires."""

    def __init__(self, network: nn.Module, loss: nn.Module, bfloat16: bool) -> None:
        super().__init__()
        self.network, self.loss, self.bfloat16_forward = network, loss, bfloat16

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the class with the nearest centre for each image."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16_forward):
            points = self.network(images)
        loss, nearest = self.loss(points.float(), labels)
        return loss, nearest


class Trainer:
    """Trains an embedding. `curve` has one entry per epoch.

    The processes of a `group` perform the same steps, each with its shard of the images of a step. The result
    differs from a training in one process only by rounding and by batch normalisation over a shard.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: int,
        hyperparameters: Hyperparameters,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Initialise a training on uint8 `images` [n, side, side] and int64 `labels` [n], below `classes`."""
        self.images, self.labels = torch.tensor(images), torch.tensor(labels)
        self.hyperparameters, self.group = hyperparameters, group
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hyperparameters.seed)
            # With this memory layout of the weights, convolutions are faster on a CPU.
            self.network = Embedding()
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.loss = Margin(classes, hyperparameters.margin)
        self.average = deepcopy(self.network)
        self.model = group.wrap(_NetworkWithLoss(self.network, self.loss, hyperparameters.bfloat16))
        weights = [*self.network.parameters(), *self.loss.parameters()]
        # As usual, weight decay excludes biases and the scales of normalisation layers.
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.01},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, foreach=True)
        self.curve: list[dict[str, float]] = []

    @property
    def steps(self) -> int:
        """Number of steps in an epoch."""
        return max(len(self.images) // BATCH, MINIMUM_STEPS)

    def run(self, progress: Progress, checkpoints: Checkpoints | None = None) -> nn.Module:
        """Train from the latest checkpoint to the last epoch. Return the network with averaged weights."""
        # All processes must start from the same state, so rank 0 reads the checkpoint for all.
        saved = self.group.broadcast(checkpoints.latest() if checkpoints and self.group.is_first else None)
        if saved:
            self._restore(saved, progress)
        epochs = self.hyperparameters.epochs
        while len(self.curve) < epochs:
            self._epoch(len(self.curve) + 1)
            if checkpoints and self.group.is_first:
                checkpoints.save(self._state())
            accuracy = 1 - self.curve[-1]["error"]
            progress(f"epoch {len(self.curve)} of {epochs}: training accuracy {accuracy:.2%}")
        return self.average.eval()

    def _epoch(self, number: int) -> None:
        # Each epoch has its own generator, so that a resumed training uses the same random numbers.
        generator = torch.Generator().manual_seed(self.hyperparameters.seed * 1_000_003 + number)
        self.network.train()
        step = (number - 1) * self.steps
        losses = errors = count = 0.0
        for batch in self._batches(generator):
            self._set_learning_rate(step / (self.steps * self.hyperparameters.epochs))
            # Each process draws the transforms of the whole batch, so that all use the same random numbers.
            shard = self.group.shard(len(batch))
            transforms, rows = random_transforms(len(batch), SIDE, generator).part(shard), batch[shard]
            labels = self.labels[rows]
            loss, nearest = self.model(augment(self.images[rows].float(), transforms), labels)
            self.optimiser.zero_grad()
            # This factor turns the mean over the processes into the mean over all images of the batch.
            (loss * (len(rows) * self.group.world_size / BATCH)).backward()
            self.optimiser.step()
            step += 1
            self._update_average(min(_DECAY, step / (step + 9)))
            losses += float(loss.detach()) * len(rows)
            errors += float((nearest != labels).sum())
            count += len(rows)
        losses, errors, count = self.group.all_reduce([losses, errors, count])
        self.curve.append({"step": number, "loss": losses / count, "error": errors / count})

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the row numbers of each step of an epoch, in random order."""
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(self.steps):
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(self.images), generator=generator)])
            yield order[:BATCH]
            order = order[BATCH:]

    def _set_learning_rate(self, share: float) -> None:
        """Set the one-cycle learning rate after a share of the steps: Smith and Topin (2018).

        It rises during the first fifth of the training, and then falls to nearly zero.
        """
        position = share / 0.2 if share < 0.2 else 1 + (share - 0.2) / 0.8
        low = 0.1 if position < 1 else 0.001
        factor = low + (1 - low) * (1 - np.cos(np.pi * position)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = self.hyperparameters.learning_rate * float(factor)

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        old, new = zip(*((o, n) for o, n in pairs if o.is_floating_point()), strict=True)
        torch._foreach_lerp_(list(old), list(new), 1 - decay)

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
        # weights_only restricts the checkpoint to tensors and plain values, so that it cannot run code.
        state = torch.load(io.BytesIO(saved), weights_only=True)
        if state["torch"] != torch.__version__:
            progress(
                f"the checkpoint was written by torch {state['torch']}, not {torch.__version__}: "
                "training starts from the beginning"
            )
            return
        for name in self._parts():
            getattr(self, name).load_state_dict(state[name])
        self.curve = state["curve"]
        progress(f"resuming after epoch {len(self.curve)} from the checkpoint of an interrupted training")


def has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16. Without them, float32 is faster."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
