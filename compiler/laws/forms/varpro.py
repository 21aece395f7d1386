"""Variable-projection starts: on a grid of slopes the loss is linear in its coefficients, so each grid point
costs one small non-negative least-squares problem instead of a descent (after arXiv:2603.22339).

In: features of the terms on a grid of slopes. Out: log coefficients and scores, all grid points at once."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from isoloss.compiler.laws.arrays import Floats


def project(shapes: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Best coefficients c >= 0 of L = sum_k c_k shapes_k for relative errors.

    `shapes` [g, k, n] positive, `y` [n] log losses, `weight` [n]. Returns ln c [g, k] and the weighted sum of
    squared relative errors [g]. A coefficient of zero comes back as 1e-3 of the smallest loss, so that a
    descent can still bring it in. All 2^k - 1 sets of positive coefficients are tried (k <= 4)."""
    g, k, _ = shapes.shape
    relative = shapes * np.exp(-y)  # the target is 1 everywhere
    gram = np.einsum("gkn,gln,n->gkl", relative, relative, weight, optimize=True)
    right = relative @ weight
    constant = float(weight.sum())
    best = np.full(g, np.inf)
    chosen = np.zeros((g, k))
    for size in range(1, k + 1):
        for active in combinations(range(k), size):
            index = list(active)
            sub = gram[:, index][:, :, index]
            ridge = 1e-12 * np.einsum("gii->gi", sub).max(axis=1)[:, None, None] * np.eye(size)
            solution = np.linalg.solve(sub + ridge, right[:, index, None])[..., 0]
            score = constant - np.einsum("gi,gi->g", solution, right[:, index])
            better = (solution > 0).all(axis=1) & (score < best)
            best[better] = score[better]
            filled = np.zeros((g, k))
            filled[:, index] = solution
            chosen[better] = filled[better]
    floor = 1e-3 * np.exp(y.min()) / shapes.mean(axis=2)
    return np.log(np.maximum(chosen, floor)), best


def grid(*axes: tuple[float, ...]) -> Floats:
    """The product of the axes as rows [g, number of axes]."""
    mesh = np.meshgrid(*axes, indexing="ij")
    return np.stack([m.ravel() for m in mesh], axis=1)
