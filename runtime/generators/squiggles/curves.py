"""Latents -> curves -> labels (arXiv:2204.11985, section 3 and appendix A).

Letters: n curves, K points per curve, U units of a SineNet. All float64."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NUM_POINTS = 100
TAYLOR_TERMS = 7
#: The paper's SineNet. (The code its authors released has 25 units, and says so.)
SINENET_UNITS = 300
#: The longer side of a curve's box, in a unit square; and the least side that is scaled, as in their code.
LONGER_SIDE, LEAST_SIDE = 0.8, 1e-5
_CHUNK = 64


def draw_taylor(rng: np.random.Generator, count: int) -> Floats:
    """Latents (n, 2, 7): a, b ~ U[-1, 1]."""
    return rng.uniform(-1.0, 1.0, (count, 2, TAYLOR_TERMS))


def taylor(latents: Floats) -> Floats:
    """Points (n, K, 2): sum_i (a_i, b_i) t^i / i!, i = 1 … 7, at K equally spaced t in [-3, 3]."""
    t = np.linspace(-3.0, 3.0, NUM_POINTS)
    basis = np.stack([t**i / math.factorial(i) for i in range(1, TAYLOR_TERMS + 1)])
    return np.ascontiguousarray((latents @ basis).transpose(0, 2, 1))


def draw_sinenet(rng: np.random.Generator, count: int, units: int = SINENET_UNITS) -> Floats:
    """Latents (n, 4, U): frequencies N(0, 1), phases U[0, 2 pi), amplitudes a, b N(0, 1)."""
    latents = rng.standard_normal((count, 4, units))
    latents[:, 1] = rng.uniform(0.0, 2 * math.pi, (count, units))
    return latents


def sinenet(latents: Floats) -> Floats:
    """Points (n, K, 2): sum_i (a_i, b_i) sin(w_i t + p_i) at K equally spaced t in [-2, 2].

    sin(w t + p) = sin p cos wt + cos p sin wt, whose parts are even and odd in t: half the points give all.
    The angles advance by rotation, one sine per unit in place of one per unit and point; error 2e-13."""
    points = np.empty((len(latents), NUM_POINTS, 2))
    # A chunk's arrays stay in the second-level cache.
    for start in range(0, len(latents), _CHUNK):
        points[start : start + _CHUNK] = _sinenet_chunk(latents[start : start + _CHUNK])
    return points


def _sinenet_chunk(latents: Floats) -> Floats:
    frequency, phase = latents[:, 0], latents[:, 1]
    # (n, 2, U): amplitudes of cos wt (even) and sin wt (odd), for x and y.
    even, odd = latents[:, 2:] * np.sin(phase)[:, None], latents[:, 2:] * np.cos(phase)[:, None]
    half, spacing = NUM_POINTS // 2, 4.0 / (NUM_POINTS - 1)
    cosine, sine = np.cos(frequency * spacing / 2), np.sin(frequency * spacing / 2)
    turn_cosine, turn_sine = np.cos(frequency * spacing), np.sin(frequency * spacing)
    points = np.empty((len(latents), NUM_POINTS, 2))
    spare, turned = np.empty_like(cosine), np.empty_like(cosine)
    for k in range(half):
        # cosine, sine: of w t at t = (k + 1/2) spacing.
        symmetric = (even @ cosine[..., None])[..., 0]
        skew = (odd @ sine[..., None])[..., 0]
        points[:, half + k], points[:, half - 1 - k] = symmetric + skew, symmetric - skew
        # In place: fresh arrays would cost more than the arithmetic.
        np.multiply(cosine, turn_cosine, out=turned)
        turned -= np.multiply(sine, turn_sine, out=spare)
        cosine *= turn_sine
        sine *= turn_cosine
        sine += cosine
        cosine, turned = turned, cosine
    return points


def rescale(points: Floats) -> Floats:
    """Move each curve's box to the middle of the unit square, its longer side 0.8, its aspect kept."""
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    side = np.maximum((high - low).max(2, keepdims=True), LEAST_SIDE)
    return (points - (low + high) / 2) * (LONGER_SIDE / side) + 0.5


def crosses_itself(points: Floats) -> NDArray[np.int64]:
    """1 where the open line through the points touches or crosses itself, else 0: int64 (n,). By GEOS; labels
    come from the points, never from pixels."""
    return (~shapely.is_simple(shapely.linestrings(points))).astype(np.int64)
