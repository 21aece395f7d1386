"""Qualities that a Fréchet distance cannot see: fidelity and coverage apart, and memorisation; and KID.

In: features float64 (n, F). numpy only; distances are made in blocks, so memory does not grow with n
squared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCK = 1024


def squared_distances(a: Floats, b: Floats) -> Iterator[tuple[slice, Floats]]:
    """|a_i - b_j|^2 in blocks of rows: (rows of a, float64 (rows, len(b))), never below 0."""
    lengths = (b**2).sum(1)
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(a)))
        part = a[rows]
        yield rows, np.maximum((part**2).sum(1)[:, None] + lengths - 2.0 * part @ b.T, 0.0)


def nearest_distance(generated: Floats, real: Floats) -> Floats:
    """Distance of each generated image to its nearest real one, (n,). Far below what held-out real images
    show, it is memorisation."""
    found = np.empty(len(generated))
    for rows, squared in squared_distances(generated, real):
        found[rows] = np.sqrt(squared.min(1))
    return found


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Shares in [0, 1]: of generated images within the real manifold, and of real images within the
    generated."""

    precision: float
    recall: float


def precision_recall(generated: Floats, real: Floats, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., arXiv:1904.06991): a manifold is the union of balls
    around images, each reaching to its k-th nearest neighbour (k = 3 as published).

    Raises ValueError where a set has not more than k images."""
    if min(len(generated), len(real)) <= neighbours:
        raise ValueError(f"both sets need more than {neighbours} images")
    return PrecisionRecall(
        _inside(generated, real, _reach(real, neighbours)),
        _inside(real, generated, _reach(generated, neighbours)),
    )


def _reach(points: Floats, neighbours: int) -> Floats:
    """Squared distance of each point to its k-th nearest other one."""
    reach = np.empty(len(points))
    for rows, squared in squared_distances(points, points):
        # The point itself is the nearest, at 0 up to rounding.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = -1.0
        reach[rows] = np.partition(squared, neighbours, axis=1)[:, neighbours]
    return reach


def _inside(points: Floats, centres: Floats, reach: Floats) -> float:
    hits = sum(int((squared <= reach).any(1).sum()) for _, squared in squared_distances(points, centres))
    return hits / len(points)


def kernel_distance(a: Floats, b: Floats) -> float:
    """KID: the unbiased squared maximum mean discrepancy with kernel (x . y / F + 1)^3 (Bińkowski et al.,
    arXiv:1801.01401, eq. 4). Unbiased in n, so it may be a little below 0. Raises ValueError below two
    images."""
    if min(len(a), len(b)) < 2:
        raise ValueError("both sets need at least 2 images")
    within = [_kernel_sum(x, x) - _kernel_trace(x) for x in (a, b)]
    pairs = [len(x) * (len(x) - 1) for x in (a, b)]
    return within[0] / pairs[0] + within[1] / pairs[1] - 2.0 * _kernel_sum(a, b) / (len(a) * len(b))


def _kernel_sum(a: Floats, b: Floats) -> float:
    blocks = (a[start : start + _BLOCK] @ b.T for start in range(0, len(a), _BLOCK))
    return float(sum(((block / a.shape[1] + 1.0) ** 3).sum() for block in blocks))


def _kernel_trace(a: Floats) -> float:
    return float((((a**2).sum(1) / a.shape[1] + 1.0) ** 3).sum())
