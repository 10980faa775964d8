"""The network, which maps images to points on the unit sphere, and its loss, which separates the classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .pictures import INK, SIDE

DIMENSIONS = 64


class Embedding(nn.Module):
    """Maps images, [n, 28, 28] from 0 to 255, to unit vectors, [n, 64]; about 260,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            # Layers on large images dominate the cost, so only the later layers are wide. At full size, the
            # first convolution would cost more than all others; its stride avoids this.
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
        """Return the unit vectors of the images."""
        points = self.layers((image / INK).reshape(-1, 1, SIDE, SIDE))
        return functional.normalize(points.float())


class Margin(nn.Module):
    """The additive angular margin loss: Deng et al., "ArcFace" (CVPR 2019), equation 3.

    Each class has a centre on the sphere. The loss adds `margin` radians to the angle between a point and the
    centre of its class. `scale` multiplies the cosines, so that the softmax is sharp enough.
    """

    def __init__(self, classes: int, margin: float, scale: float = 20.0) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, DIMENSIONS))
        self.margin, self.scale = margin, scale

    def forward(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the nearest centre of each point: int64 [n]."""
        cosines = points @ functional.normalize(self.centres).t()
        # The derivative of the sine is infinite at a cosine of one.
        target_cosines = cosines.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        sines = (1 - target_cosines**2).sqrt()
        shifted = target_cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        logits = self.scale * cosines.scatter(1, labels[:, None], shifted)
        return functional.cross_entropy(logits, labels), cosines.argmax(dim=1)


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
