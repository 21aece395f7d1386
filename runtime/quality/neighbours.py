"""Qualities that a Fréchet distance cannot see: fidelity and coverage apart, and memorisation.

In: features float64 (n, F). numpy only; distances are made in blocks, so memory does not grow with n squared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.evaluation.intervals import Measured, share

Floats = NDArray[np.float64]
_BLOCK = 1024


def squared_distances(a: Floats, b: Floats) -> Iterator[tuple[slice, Floats]]:
    """|a_i - b_j|^2 in blocks of rows: (rows of a, float64 (rows, len(b))), never below 0."""
    lengths = (b**2).sum(1)
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(a)))
        part = a[rows]
        yield rows, np.maximum((part**2).sum(1)[:, None] + lengths - 2.0 * part @ b.T, 0.0)


# Fidelity and coverage.


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Shares in [0, 1], each with Wilson's interval over the images that are asked about: of generated images
    within the real manifold, and of real images within the generated one."""

    precision: Measured
    recall: Measured


def precision_recall(generated: Floats, real: Floats, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., arXiv:1904.06991): a manifold is the union of balls
    around images, each reaching to its k-th nearest neighbour (k = 3 as published).

    Raises ValueError where a set has not more than k images."""
    if min(len(generated), len(real)) <= neighbours:
        raise ValueError(f"both sets need more than {neighbours} images")
    real_reach, generated_reach = _reach(real, neighbours), _reach(generated, neighbours)
    faithful = np.zeros(len(generated), dtype=bool)
    covered = np.zeros(len(real), dtype=bool)
    for rows, squared in squared_distances(generated, real):
        faithful[rows] = (squared <= real_reach).any(1)
        covered |= (squared <= generated_reach[rows, None]).any(0)
    return PrecisionRecall(share(faithful), share(covered))


def _reach(points: Floats, neighbours: int) -> Floats:
    """Squared distance of each point to its k-th nearest other one."""
    reach = np.empty(len(points))
    for rows, squared in squared_distances(points, points):
        # The point itself is the nearest, at 0 up to rounding.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = -1.0
        reach[rows] = np.partition(squared, neighbours, axis=1)[:, neighbours]
    return reach


# Memorisation.


@dataclass(frozen=True, slots=True)
class Nearest:
    """Of each image (n,): the distance to its nearest real one, and that one's position."""

    distance: Floats
    index: NDArray[np.int64]


def nearest(points: Floats, pieces: Iterable[Floats]) -> Nearest:
    """The nearest of real features that come in pieces (m, F): however many there are, one piece is held.

    Candidates are found in float32, twice as fast; the distance to the one found is then taken in float64, so
    that a copy is at 0. Of two real images nearer to each other than float32 tells, either may be named."""
    found = np.full(len(points), np.inf)
    index = np.zeros(len(points), dtype=np.int64)
    single = points.astype(np.float32)
    offset = 0
    for piece in pieces:
        real = piece.astype(np.float32)
        lengths = (real**2).sum(1)
        for start in range(0, len(points), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(points)))
            # |a|^2 is the same for all candidates of a.
            best = (lengths - 2.0 * single[rows] @ real.T).argmin(1)
            exact = ((points[rows] - piece[best]) ** 2).sum(1)
            closer = exact < found[rows]
            found[rows] = np.where(closer, exact, found[rows])
            index[rows] = np.where(closer, offset + best, index[rows])
        offset += len(piece)
    return Nearest(np.sqrt(found), index)


#: Real images that the rule calls "near": those below this quantile of held-out images' distances.
NEAR = 0.05
_REDRAWS = 1000


@dataclass(frozen=True, slots=True)
class Memorised:
    """`share` of generated images nearer to a training image than `threshold`, the NEAR quantile of the
    distances of `held_out` real images that no generator saw. NEAR where nothing is memorised."""

    share: Measured
    threshold: float
    held_out: int


def memorised(generated: Floats, held_out: Floats, rng: np.random.Generator) -> Memorised:
    """Compare distances to the nearest training image (n,): of generated images, and of held-out real ones.

    The interval holds both samples' chance: of the generated images, and of the held-out ones that set the
    threshold (the level of an order statistic is a Beta variable, Wilks 1941)."""
    real = np.sort(held_out)
    threshold = float(np.quantile(real, NEAR))
    value = float((generated < threshold).mean())
    rank = NEAR * len(real)
    levels = rng.beta(rank + 0.5, len(real) - rank + 0.5, _REDRAWS)
    shares = np.searchsorted(np.sort(generated), np.quantile(real, levels)) / len(generated)
    # Half an image on either side: a share of 0 is not certain.
    drawn = rng.beta(shares * len(generated) + 0.5, (1 - shares) * len(generated) + 0.5)
    low, high = (float(v) for v in np.quantile(drawn, (0.025, 0.975)))
    measured = Measured(value, min(low, value), max(high, value), len(generated))
    return Memorised(measured, threshold, len(real))
