"""Random augmentation of images: shift, rotation, scale, shear and elastic deformation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SHIFT, ROTATION, SCALE, SHEAR = 2.0, math.radians(10), 0.1, 0.1
"""The maximum of each: pixels, radians, and shares of the size."""
DEFORMATION, KNOTS = 1.0, 4
"""Elastic deformation: standard deviation of the displacement in pixels at KNOTS x KNOTS points, interpolated
between them. After Simard et al., "Best practices for convolutional neural networks" (ICDAR 2003)."""


@dataclass(frozen=True)
class Transforms:
    """The transforms of n images.

    `affine` are affine maps, float32 [n, 2, 3]. `displacements` are the elastic deformation at the
    knots, float32 [n, 2, KNOTS, KNOTS].
    """

    affine: Tensor
    displacements: Tensor

    def part(self, rows: slice) -> Transforms:
        """Return the transforms of these rows."""
        return Transforms(self.affine[rows], self.displacements[rows])


def random_transforms(count: int, side: int, generator: torch.Generator) -> Transforms:
    """Return random transforms for `count` images of `side` pixels."""

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * limit

    angle, width, height, shear = uniform(ROTATION), 1 + uniform(SCALE), 1 + uniform(SCALE), uniform(SHEAR)
    sine, cosine = angle.sin(), angle.cos()
    # torch's coordinates are from -1 to 1, so the width of a pixel is 2 / side.
    rows = [
        torch.stack([cosine * width, -sine * height + shear, uniform(2 * SHIFT / side)], dim=1),
        torch.stack([sine * width, cosine * height, uniform(2 * SHIFT / side)], dim=1),
    ]
    displacements = torch.randn(count, 2, KNOTS, KNOTS, generator=generator) * (2 * DEFORMATION / side)
    return Transforms(torch.stack(rows, dim=1), displacements)


def augment(images: Tensor, transforms: Transforms) -> Tensor:
    """Return the transformed images, float32 [n, side, side]."""
    channel = images[:, None]
    grid = functional.affine_grid(transforms.affine, list(channel.shape), align_corners=False)
    weights = _interpolation_weights(images.shape[1])
    deformation = torch.einsum("ndk,kij->nijd", transforms.displacements.flatten(2), weights)
    return functional.grid_sample(channel, grid + deformation, align_corners=False)[:, 0]


@cache
def _interpolation_weights(side: int) -> Tensor:
    """Return the bicubic weight of each knot for each pixel, float32 [KNOTS * KNOTS, side, side]."""
    knots = torch.eye(KNOTS * KNOTS).reshape(-1, 1, KNOTS, KNOTS)
    return functional.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)[:, 0]
