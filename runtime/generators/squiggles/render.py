"""Points -> pictures: X_ij = max_k exp(-n^2 |grid_ij - c_k|^2) (arXiv:2204.11985, A.3).

Pixel (i, j) lies at (i, j) / (n - 1); array axis 0 is x, as in the authors' code. Twice: fast for making
images, differentiable for attacks on latents. Letters: B curves, K points, n pixels per side."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Pixels of reach around the nearest one: beyond, a point adds less than exp(-3.5^2) = 5e-6.
_REACH = 3
_CHUNK = 128


def render(points: NDArray[np.float64], resolution: int) -> NDArray[np.float32]:
    """Pictures float32 (B, n, n) in [0, 1], within 5e-6 of the formula; peak 1.

    Squared distances are lowered in a 7x7 window around each point, all pictures at once, one point at a
    time: within a step no two windows share a pixel of one picture. Raises ValueError below 8 pixels or for
    points outside the unit square."""
    if resolution < 2 * _REACH + 2:
        raise ValueError(f"resolution must be at least {2 * _REACH + 2}, got {resolution}")
    if points.min() < 0 or points.max() > 1:
        raise ValueError("points must be in the unit square: rescale them")
    pictures = np.empty((len(points), resolution, resolution), np.float32)
    for start in range(0, len(points), _CHUNK):
        chunk = points[start : start + _CHUNK]
        nearest = _squared_distances(chunk, resolution)
        # From pixels to the formula's units: distances are fractions of the square, n^2 in front.
        np.exp(nearest * np.float32(-((resolution / (resolution - 1)) ** 2)), out=nearest)
        pictures[start : start + _CHUNK] = nearest
    return pictures


def _squared_distances(points_BK2: NDArray[np.float64], resolution: int) -> NDArray[np.float32]:
    """In pixels, to the nearest point; infinity out of reach. A frame of _REACH pixels is drawn and cut
    off."""
    count, framed = len(points_BK2), resolution + 2 * _REACH
    # (K, B): steps go over points.
    x, y = ((points_BK2 * (resolution - 1) + _REACH).astype(np.float32)).transpose(2, 1, 0)
    middle_x, middle_y = np.rint(x).astype(np.int32), np.rint(y).astype(np.int32)
    offsets = np.arange(-_REACH, _REACH + 1)
    square_x = (middle_x[..., None] + offsets - x[..., None]).astype(np.float32) ** 2
    square_y = (middle_y[..., None] + offsets - y[..., None]).astype(np.float32) ** 2
    found = np.full((count, framed, framed), np.inf, np.float32)
    # windows[b, i, j] is the window whose corner is pixel (i, j) of picture b: a view, nothing is copied.
    side = (2 * _REACH + 1, 2 * _REACH + 1)
    windows = np.lib.stride_tricks.sliding_window_view(found, side, axis=(1, 2), writeable=True)
    corner_x, corner_y, pictures = middle_x - _REACH, middle_y - _REACH, np.arange(count)
    for k in range(len(x)):
        place = (pictures, corner_x[k], corner_y[k])
        squared = square_x[k][:, :, None] + square_y[k][:, None, :]
        windows[place] = np.minimum(windows[place], squared, out=squared)
    inner = slice(_REACH, -_REACH)
    return np.ascontiguousarray(found[:, inner, inner])


def render_differentiable(points_BK2: Tensor, resolution: int) -> Tensor:
    """The formula itself, (B, n, n), with gradients to the points; dtype of the points."""
    grid = torch.linspace(0, 1, resolution, dtype=points_BK2.dtype, device=points_BK2.device)
    square_BnK2 = (grid[None, :, None, None] - points_BK2[:, None]) ** 2
    squared = square_BnK2[..., 0][:, :, None] + square_BnK2[..., 1][:, None, :]
    return torch.exp(-(resolution**2) * squared.amin(-1))
