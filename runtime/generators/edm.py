"""The EDM sampler: a schedule of noise levels and Heun's method down it (Karras et al., arXiv:2206.00364).

In: a denoiser, noise, labels. Out: clean images in the denoiser's units. State is float64, whatever the
denoiser computes in. Every other sampler here is this loop with another start or another slope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import Protocol

import torch
from torch import Tensor

from isoloss.runtime.generators.denoiser import Denoiser


def schedule(steps: int, sigma_min: float, sigma_max: float, rho: float) -> Tensor:
    """Noise levels float64 (steps + 1,): eq. 5 of arXiv:2206.00364, then 0."""
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    ramp = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])


def network_evaluations(steps: int) -> int:
    """How often Heun's method asks the denoiser: 2n - 1, for the last step is Euler's."""
    return 2 * steps - 1


@dataclass(frozen=True, slots=True)
class Churn:
    """Algorithm 2's added noise: at levels in [low, high] the level rises by min(amount / steps, sqrt 2 -
    1)."""

    amount: float = 0.0
    low: float = 0.0
    high: float = inf
    noise: float = 1.0

    def gamma(self, sigma: float, steps: int) -> float:
        return min(self.amount / steps, sqrt(2) - 1) if self.low <= sigma <= self.high else 0.0


class Slope(Protocol):
    """dx/dsigma of the probability-flow ODE, and how much churn each image gets before a step."""

    def churn(self, x_BD: Tensor, sigma: float, step: int, steps: int) -> tuple[Tensor | None, float]:
        """Rise gamma (B, 1) of the noise level, or None for none, and the scale of the noise added."""
        ...

    def __call__(self, x_BD: Tensor, sigma: Tensor, step: int, *, second: bool) -> Tensor:
        """`second` tells Heun's corrector from its Euler predictor; `sigma` is a scalar or (B, 1)."""
        ...


class ProbabilityFlow:
    """(x - D(x; sigma)) / sigma, eq. 3 of arXiv:2206.00364 with sigma(t) = t, s(t) = 1."""

    def __init__(self, denoiser: Denoiser, y_B: Tensor, churn: Churn | None = None) -> None:
        self.denoiser, self.y_B, self.settings = denoiser, y_B, churn or Churn()

    def churn(self, x_BD: Tensor, sigma: float, step: int, steps: int) -> tuple[Tensor | None, float]:
        gamma = self.settings.gamma(sigma, steps)
        return (x_BD.new_full((len(x_BD), 1), gamma) if gamma > 0 else None), self.settings.noise

    def __call__(self, x_BD: Tensor, sigma: Tensor, step: int, *, second: bool) -> Tensor:
        return (x_BD - self.denoiser(x_BD, sigma, self.y_B)) / sigma


def heun(slope: Slope, x_BD: Tensor, sigmas: Tensor, draw: Callable[[int], Tensor]) -> Tensor:
    """Algorithm 2 of arXiv:2206.00364 from `x_BD` at level sigmas[0] to level 0.

    `draw(step)` gives standard normals like `x_BD`; it is asked only where there is churn."""
    steps = len(sigmas) - 1
    for step in range(steps):
        sigma, following = sigmas[step], sigmas[step + 1]
        # Raise the noise level.
        gamma, scale = slope.churn(x_BD, float(sigma), step, steps)
        if gamma is not None:
            raised = sigma * (1 + gamma)
            x_BD = x_BD + (raised**2 - sigma**2).sqrt() * scale * draw(step)
            sigma = raised
        # Euler's step down to the next level.
        predictor = slope(x_BD, sigma, step, second=False)
        x_next = x_BD + (following - sigma) * predictor
        # Correct by the slope found there; at level 0 there is none.
        if step < steps - 1:
            corrector = slope(x_next, following, step, second=True)
            x_next = x_BD + (following - sigma) * (predictor + corrector) / 2
        x_BD = x_next
    return x_BD
