"""Augmentation that a denoiser is told about, so that what it learns of changed images does not leak into what it
makes (Karras et al., arXiv:2206.00364, after arXiv:2006.06676).

In: images float (B, C, H, W) in [-1, 1]. Out: the changed images and nine numbers for each. What is assumed: changed
images are read by bicubic interpolation with mirrored borders; the published code filters with a wavelet at twice the
size."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from isoloss.runtime.noise import Noise

#: Numbers that describe a change: mirrored, flipped, scaled, turned (2), stretched (2), moved (2).
CONDITION = 9
#: Log2 deviation of scaling and stretching; share of the size that images move by.
SCALE_SPREAD, STRETCH_SPREAD, MOVE_SPREAD = 0.2, 0.2, 0.125
#: Stretching is along turned axes for this share of the stretched images.
TURNED_STRETCH = 0.5

#: (images, noise) -> (images, condition (B, 9) or None).
Augment = Callable[[Tensor, Noise], tuple[Tensor, Tensor | None]]


def build(probability: float) -> Augment:
    """Each change happens with this probability; mirroring, to every second image always. 0: nothing."""
    if not probability:
        return lambda x_BCHW, noise: (x_BCHW, None)
    return lambda x_BCHW, noise: change(x_BCHW, probability, noise)


def change(x_BCHW: Tensor, probability: float, noise: Noise) -> tuple[Tensor, Tensor]:
    """Mirror, flip, then one affine map: scaled, turned, stretched, moved."""
    count, _, height, width = x_BCHW.shape
    places = x_BCHW.new_empty(count, 16)
    uniform, normal = noise.uniform(places), noise.normal(places)
    happens = (uniform[:, :5] < probability).to(places)
    mirrored = (uniform[:, 5] < 0.5).to(places)
    flipped = (uniform[:, 6] < 0.5).to(places) * happens[:, 0]
    scale = normal[:, 0] * happens[:, 1]
    turn = (2 * uniform[:, 7] - 1) * pi * happens[:, 2]
    stretch = normal[:, 1] * happens[:, 3]
    axis = (2 * uniform[:, 8] - 1) * pi * (uniform[:, 9] < TURNED_STRETCH)
    move = normal[:, 2:4] * happens[:, 4:5]
    x_BCHW = torch.where(mirrored[:, None, None, None] > 0, x_BCHW.flip(3), x_BCHW)
    x_BCHW = torch.where(flipped[:, None, None, None] > 0, x_BCHW.flip(2), x_BCHW)
    matrix = _scaled(torch.exp2(-SCALE_SPREAD * scale), torch.exp2(-SCALE_SPREAD * scale)) @ _turned(turn)
    squeezed = torch.exp2(-STRETCH_SPREAD * stretch)
    matrix = matrix @ _turned(-axis) @ _scaled(squeezed, 1 / squeezed) @ _turned(axis)
    size = places.new_tensor([width, height])
    offset = -(matrix @ (move * MOVE_SPREAD * size)[:, :, None])
    moved = (happens[:, 1:] > 0).any(1)[:, None, None, None]
    x_BCHW = torch.where(moved, _read(x_BCHW, matrix, offset, size), x_BCHW)
    told = [
        mirrored, flipped, scale, turn.cos() - 1, turn.sin(), stretch * axis.cos(), stretch * axis.sin(), *move.T
    ]  # fmt: skip
    return x_BCHW, torch.stack(told, dim=1)


def _read(x_BCHW: Tensor, matrix: Tensor, offset: Tensor, size: Tensor) -> Tensor:
    """Each pixel of the result is read where the map, in pixels about the centre, says."""
    # affine_grid measures from -1 to 1 along both axes.
    linear = matrix * size[None, None, :] / size[None, :, None]
    theta = torch.cat([linear, offset * 2 / size[None, :, None]], dim=2)
    grid = F.affine_grid(theta, list(x_BCHW.shape), align_corners=False)
    return F.grid_sample(x_BCHW, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _scaled(x_B: Tensor, y_B: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x_B, y_B], dim=1))


def _turned(angle_B: Tensor) -> Tensor:
    cos, sin = angle_B.cos(), angle_B.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
