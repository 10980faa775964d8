"""Pictures as another hand would have written them: moved, turned, stretched and slanted a little."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SHIFT, TURN, STRETCH, SLANT = 2.0, math.radians(10), 0.1, 0.1
"""The most in pixels, in radians, and as shares of the size."""


def draw_maps(count: int, side: int, chance: torch.Generator) -> Tensor:
    """Return random affine maps for that many pictures of `side` pixels; float32 [count, 2, 3]."""

    def draw(most: float) -> Tensor:
        return (2 * torch.rand(count, generator=chance) - 1) * most

    angle, wide, high, slant = draw(TURN), 1 + draw(STRETCH), 1 + draw(STRETCH), draw(SLANT)
    sine, cosine = angle.sin(), angle.cos()
    rows = [
        torch.stack([cosine * wide, -sine * high + slant, draw(2 * SHIFT / side)], dim=1),
        torch.stack([sine * wide, cosine * high, draw(2 * SHIFT / side)], dim=1),
    ]
    return torch.stack(rows, dim=1)


def vary(pictures: Tensor, maps: Tensor) -> Tensor:
    """Return each picture under its map; float32 [n, 28, 28], as it came."""
    channel = pictures[:, None]
    grid = functional.affine_grid(maps, list(channel.shape), align_corners=False)
    return functional.grid_sample(channel, grid, align_corners=False)[:, 0]
