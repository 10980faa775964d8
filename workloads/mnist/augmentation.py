"""Pictures as another hand would have written them: moved, turned, stretched, slanted and bent a little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SHIFT, TURN, STRETCH, SLANT = 2.0, math.radians(10), 0.1, 0.1
"""The most in pixels, in radians, and as shares of the size."""
BEND, KNOTS = 1.0, 4
"""How far ink is moved by itself: the standard deviation in pixels at KNOTS x KNOTS places, smooth between.
After Simard et al., "Best practices for convolutional neural networks" (ICDAR 2003)."""


@dataclass(frozen=True)
class Variations:
    """What is done to each of n pictures: affine maps, float32 [n, 2, 3], and bends, [n, 2, KNOTS, KNOTS]."""

    maps: Tensor
    bends: Tensor

    def part(self, rows: slice) -> Variations:
        """Return those of some of the pictures."""
        return Variations(self.maps[rows], self.bends[rows])


def draw(count: int, side: int, chance: torch.Generator) -> Variations:
    """Return random variations for that many pictures of `side` pixels."""

    def up_to(most: float) -> Tensor:
        return (2 * torch.rand(count, generator=chance) - 1) * most

    angle, wide, high, slant = up_to(TURN), 1 + up_to(STRETCH), 1 + up_to(STRETCH), up_to(SLANT)
    sine, cosine = angle.sin(), angle.cos()
    # Places are told from -1 to 1: a pixel is 2 / side.
    rows = [
        torch.stack([cosine * wide, -sine * high + slant, up_to(2 * SHIFT / side)], dim=1),
        torch.stack([sine * wide, cosine * high, up_to(2 * SHIFT / side)], dim=1),
    ]
    bends = torch.randn(count, 2, KNOTS, KNOTS, generator=chance) * (2 * BEND / side)
    return Variations(torch.stack(rows, dim=1), bends)


def vary(pictures: Tensor, variations: Variations) -> Tensor:
    """Return each picture under its variation; float32 [n, side, side], as it came."""
    channel = pictures[:, None]
    grid = functional.affine_grid(variations.maps, list(channel.shape), align_corners=False)
    bent = torch.einsum("ndk,kij->nijd", variations.bends.flatten(2), _between(pictures.shape[1]))
    return functional.grid_sample(channel, grid + bent, align_corners=False)[:, 0]


@cache
def _between(side: int) -> Tensor:
    """Return how much each knot moves each pixel, float32 [KNOTS * KNOTS, side, side]: bicubic."""
    knots = torch.eye(KNOTS * KNOTS).reshape(-1, 1, KNOTS, KNOTS)
    return functional.interpolate(knots, size=(side, side), mode="bicubic", align_corners=True)[:, 0]
