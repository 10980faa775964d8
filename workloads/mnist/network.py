"""The network: pictures in, points on the unit sphere out; and the loss that draws classes apart there."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .pictures import INK, SIDE

DIMENSIONS = 64


class Embedding(nn.Module):
    """Embeds pictures, [n, 28, 28] from 0 to 255, as unit vectors, [n, 64]; about 260,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            # What an answer costs is spent where pictures are large: the width comes where they are small. At
            # full size a convolution of one channel costs more than all the others; its stride saves that.
            *_convolution(1, 16, kernel=5, stride=2, padding=2),
            *_convolution(16, 32),
            nn.MaxPool2d(2),
            *_convolution(32, 64),
            *_convolution(64, 96, padding=0),
            *_convolution(96, 128, padding=0),
            nn.Flatten(),
            nn.Linear(128 * 9, DIMENSIONS, bias=False),
            nn.BatchNorm1d(DIMENSIONS),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the pictures' unit vectors."""
        points = self.layers((image / INK).reshape(-1, 1, SIDE, SIDE))
        return functional.normalize(points.float())


class Margin(nn.Module):
    """The additive angular margin loss: Deng et al., "ArcFace" (CVPR 2019), equation 3.

    Each class has a centre on the sphere. A point must be nearer to its own by `margin` radians to be worth
    as much as without; `scale` makes the softmax over cosines as sharp as one over logits.
    """

    def __init__(self, classes: int, margin: float, scale: float = 20.0) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, DIMENSIONS))
        self.margin, self.scale = margin, scale

    def forward(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the nearest centre of each point: int64 [n]."""
        cosines = points @ functional.normalize(self.centres).t()
        # The derivative of the sine is infinite where the cosine is one.
        own = cosines.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        moved = own * math.cos(self.margin) - (1 - own**2).sqrt() * math.sin(self.margin)
        logits = self.scale * cosines.scatter(1, labels[:, None], moved)
        return functional.cross_entropy(logits, labels), cosines.argmax(dim=1)


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
