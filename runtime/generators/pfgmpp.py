"""PFGM++ (Xu et al., arXiv:2302.04265): data perturbed by a heavy-tailed kernel in D extra dimensions.

p_r(x | y) ~ (|x - y|^2 + r^2)^(-(N + D) / 2) with r = sigma sqrt(D); D -> infinity is the Gaussian of EDM.
The ODE in sigma, the schedule and Heun's method are EDM's; what differs is the start and what a denoiser
averages over. Letters: N numbers per image, D extra dimensions (`extra`), B images."""

from __future__ import annotations

from math import sqrt
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.runtime.generators.denoiser import Denoiser
from isoloss.runtime.generators.noise import LATENT, START_RADIUS, BlockNoise


def perturbation_radius(beta: NDArray[np.float64], sigma: float, extra: int) -> NDArray[np.float64]:
    """|x - y| of a draw from the kernel at level sigma: r sqrt(b / (1 - b)), b ~ Beta(N / 2, D / 2)."""
    return sigma * sqrt(extra) * np.sqrt(beta / (1.0 - beta))


def start(noise: BlockNoise, sigma_max: float, extra: int) -> Tensor:
    """Draws from the kernel around 0 at sigma_max, float64 (B, N). Not multiplied by sigma_max once more."""
    radius = perturbation_radius(noise.beta(START_RADIUS, noise.dimensions / 2, extra / 2), sigma_max, extra)
    direction = noise.normal(LATENT)
    return torch.from_numpy(radius)[:, None] * direction / direction.norm(dim=1, keepdim=True)


def default_nodes(extra: int) -> int:
    """Nodes of the quadrature over the kernel's Gaussians; fewer where it is nearly one of them."""
    return 6 if extra > 512 else 24


class Scored(Protocol):
    """A denoiser that also knows the density of noisy images under Gaussian noise."""

    def score(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]: ...


class HeavyTailed:
    """The posterior mean under PFGM++'s kernel, from the one under Gaussian noise. Exact up to quadrature.

    The kernel is a Student t: a Gaussian of variance tau^2 = r^2 / (2 u) with u ~ Gamma(D / 2). So the
    posterior mean averages the Gaussian ones over u, weighted by how well each tau explains x. The average
    over the Gamma is Gauss-Laguerre quadrature; at D = 2048 tau varies by 1.6 % and six nodes are exact to
    1e-9."""

    def __init__(self, gaussian: Denoiser, scored: Scored, extra: int, nodes: int | None = None) -> None:
        self.gaussian, self.scored, self.extra = gaussian, scored, extra
        self.nodes, self.weights = gamma_quadrature(extra / 2, nodes or default_nodes(extra))
        self.dimensions, self.classes = gaussian.dimensions, gaussian.classes
        self.sigma_min, self.sigma_max = gaussian.sigma_min, gaussian.sigma_max
        self.pixels = gaussian.pixels

    def __call__(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> Tensor:
        corrections, evidence = [], []
        for u, weight in zip(self.nodes, self.weights, strict=True):
            tau = sigma * sqrt(self.extra / (2.0 * u))
            score, log_density = self.scored.score(x_BD, tau, y_B)
            corrections.append(tau**2 * score)
            evidence.append(log_density + float(np.log(weight)))
        share = torch.softmax(torch.stack(evidence), dim=0)
        return x_BD + (share[..., None] * torch.stack(corrections)).sum(0)

    def to_uint8(self, x_BD: Tensor) -> Tensor:
        return self.gaussian.to_uint8(x_BD)


def gamma_quadrature(shape: float, nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights (sum 1) that integrate against the Gamma(shape) density, exactly for polynomials
    below degree 2 * nodes (Golub & Welsch 1969). Weights too small for a float are left out.

    scipy's generalised Laguerre roots overflow at the shapes needed here (1024), normalised weights do
    not."""
    k = np.arange(nodes, dtype=np.float64)
    off_diagonal = np.sqrt(k[1:] * (k[1:] + shape - 1.0))
    jacobi = np.diag(2.0 * k + shape) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    points, vectors = np.linalg.eigh(jacobi)
    weights = vectors[0] ** 2
    kept = weights > 1e-300
    return points[kept], weights[kept]
