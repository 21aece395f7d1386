"""How errors of log loss hang together: neighbouring runs share the law's misfit, evaluations of one run most of
their noise. The design plans by this, and fits with `errors = correlated` weigh by it.

Coordinates [n, 3] are ln N, ln D and ln(1 + FID) in length scales. Pure."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs, Ints

#: Length scales of the misfit in ln N, ln D and ln(1 + FID) (assumed): a factor of 4.5 in size or data and
#: of 2.7 in 1 + FID are neighbours. Longer ones are taken for the law's own terms, shorter ones for noise.
LENGTHS = np.array([1.5, 1.5, 1.0])
#: Correlation of the noise of two evaluations of one run (assumed): most of its luck is its seed's.
CURVE = 0.9


def coordinates_of(x: Inputs) -> Floats:
    """[n, 3] of points; nan where a FID is unknown, infinite at limits."""
    return np.asarray(np.stack([x.lnN, x.lnD, x.lnQ], axis=1) / LENGTHS)


def alike(a: Floats, b: Floats) -> Floats:
    """Correlation of the misfit at coordinates a [n, 3] and b [k, 3]: squared exponential, [n, k]."""
    square = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None, :] - 2.0 * a @ b.T
    return np.asarray(np.exp(-0.5 * np.maximum(square, 0.0)))


def together(run: Ints) -> Floats:
    """Correlation of the noise of observations of these runs [k]: [k, k]."""
    same = run[:, None] == run[None, :]
    return np.where(np.eye(len(run), dtype=bool), 1.0, np.where(same, CURVE, 0.0))
