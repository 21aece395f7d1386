"""Five worlds with known truth, to measure what intervals cover: loss as a function of N, D and FID.

Each draws its own constants from a seed, so that no fit can be tuned to one instance of a world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.points import Points

Truth: TypeAlias = Callable[[Floats, Floats, Floats], Floats]

PARAMS = np.geomspace(6e6, 3e8, 5)
IMAGES = np.geomspace(5e6, 1e8, 4)
FIDS = np.array([1.65, 6.79, 14.26])
#: Residual scatter of single runs (.35 to .55 % published: laws/rolling.py).
NOISE = 0.004


@dataclass(frozen=True, slots=True)
class Universe:
    name: str
    draw: Callable[[np.random.Generator], Truth]
    note: str


def law2(rng: np.random.Generator) -> Truth:
    """Approach 2 around the published constants."""
    alpha, beta = rng.uniform(0.2, 0.35, 2)
    tN, tD = rng.uniform(0.08, 0.2, 2)  # size of the terms in the middle of the grid
    E, eps, zeta = rng.uniform(0.4, 0.55), rng.uniform(0.1, 0.2), rng.uniform(-0.3, 0.1)
    return lambda N, D, F: (
        tN * (N / 4e7) ** -alpha + tD * (1 + F) ** zeta * (D / 2e7) ** -beta + E * (1 + F) ** eps
    )


def law3(rng: np.random.Generator) -> Truth:
    """Approach 3 around the published constants."""
    alpha, beta, kappa = rng.uniform(0.2, 0.35), rng.uniform(0.18, 0.3), rng.uniform(0.45, 0.75)
    tN, tD, tQ = rng.uniform(0.08, 0.2), rng.uniform(0.08, 0.2), rng.uniform(0.03, 0.1)
    E, eps = rng.uniform(0.4, 0.55), rng.uniform(0.02, 0.05)

    def loss(N: Floats, D: Floats, F: Floats) -> Floats:
        u, v = tD ** (1 / beta) * 2e7 / D, (tQ * (F / 6.79) ** kappa) ** (1 / beta)
        return tN * (N / 4e7) ** -alpha + (u + v) ** beta + E + eps * np.log1p(F)

    return loss


def broken(inside: bool) -> Callable[[np.random.Generator], Truth]:
    """A broken power law in D (Caballero et al. 2023, arXiv:2210.14891, one smooth break), law 2
    otherwise."""

    def draw(rng: np.random.Generator) -> Truth:
        base = law2(rng)
        low, high = (1e7, 5e7) if inside else (2e8, 6e8)
        where = np.exp(rng.uniform(np.log(low), np.log(high)))
        change, width = rng.choice([-1.0, 1.0]) * rng.uniform(0.05, 0.1), rng.uniform(0.2, 0.6)
        size = rng.uniform(0.08, 0.2)

        def loss(N: Floats, D: Floats, F: Floats) -> Floats:
            slope = 0.25
            bent = (D / where) ** -slope * (1 + (D / where) ** (1 / width)) ** (-change * width)
            return base(N, 1e30 + 0 * D, F) + size * (where / 2e7) ** -slope * bent

        return loss

    return draw


def mixture(rng: np.random.Generator) -> Truth:
    """Two Gaussians, labels -1 and 1, classified by w = the mean of D generated samples; exact robust error.

    x ~ N(y mu, I); the generator's mean is off by b, orthogonal to mu, so that its Frechet distance is
    exactly |b|^2 = c FID. A network of N parameters sees mu only up to a share 1 - (N/N0)^-s of its energy,
    and pays estimation noise d(N)/D. Under an L2 adversary of radius eps the error of sign(w.x) is
    Phi(-(w.mu/|w| - eps)), with w.mu = M and |w|^2 = M + c FID + d(N)/D."""
    from scipy.special import ndtr

    s, grow = rng.uniform(0.25, 0.45), rng.uniform(0.0, 0.15)
    energy, c, d = rng.uniform(3.5, 5.5), rng.uniform(0.03, 0.08), rng.uniform(0.5e7, 2e7)
    eps = rng.uniform(1.0, 1.4)

    def loss(N: Floats, D: Floats, F: Floats) -> Floats:
        M = energy * (1 - (N / 1e5) ** -s)
        length = np.sqrt(M + c * F + d * (N / 4e7) ** grow / D)
        return np.asarray(ndtr(-(M / length - eps)))

    return loss


UNIVERSES = (
    Universe("law 2 true", law2, ""),
    Universe("law 3 true", law3, ""),
    Universe("broken power law", broken(True), "break inside the grid"),
    Universe("Gaussian mixture", mixture, "closed-form robust error; no law of ours is true"),
    Universe("break beyond the data", broken(False), "2 to 6 times past the largest D: no data can show it"),
)


def sample(truth: Truth, rng: np.random.Generator) -> Points:
    """One experiment: every N x D x FID of the grid once."""
    N, D, F = (m.ravel() for m in np.meshgrid(PARAMS, IMAGES, FIDS, indexing="ij"))
    loss = truth(N, D, F) * np.exp(NOISE * rng.standard_normal(len(N)))
    return Points.build(N, D, loss, fid=F)
