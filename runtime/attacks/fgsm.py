"""One-step attacks: FGSM, its L2 form, and R-FGSM, which first moves a step in a random direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isoloss.runtime.attacks.base import Attack, NetworkLike, input_gradient
from isoloss.runtime.attacks.norms import Ball, Norm
from isoloss.runtime.attacks.objectives import Objective
from isoloss.runtime.noise import Noise


class Fgsm(Attack):
    """x + epsilon * sign(gradient); in L2 x + epsilon * gradient / |gradient| (arXiv:1711.02846).

    R-FGSM (Tramèr et al., arXiv:1705.07204): x' = x + alpha * sign N(0, I), then epsilon - alpha from x'.
    `alpha` 0 is plain FGSM. With `sigma` each image has an epsilon of its own, |N(0, sigma)| truncated at
    `epsilon` (Kurakin et al., arXiv:1611.01236, section 4.1)."""

    def __init__(
        self, norm: Norm, epsilon: float, objective: Objective, alpha: float = 0.0, sigma: float | None = None
    ) -> None:
        super().__init__(norm, epsilon)
        if not 0 <= alpha <= epsilon:
            raise ValueError(f"alpha must be in [0, epsilon], got {alpha}")
        if sigma is not None and (sigma <= 0 or alpha):
            raise ValueError(f"sigma must be above 0, without alpha, got {sigma} and {alpha}")
        self.objective = objective
        self.alpha = alpha
        self.sigma = sigma
        self.needs_clean = objective.needs_clean

    def run(
        self,
        network: NetworkLike,
        x_BCHW: Tensor,
        y_B: Tensor,
        ball: Ball,
        noise: Noise,
        clean_BK: Tensor | None,
    ) -> Tensor:
        self.objective.prepare(y_B, clean_BK)
        start = x_BCHW
        if self.alpha:
            start = ball.project(ball.step(x_BCHW, noise.normal(x_BCHW), self.alpha))
        gradient = input_gradient(network, start, self.objective)
        length = self.epsilon - self.alpha if self.sigma is None else self._lengths(noise, x_BCHW)
        return ball.step(start, gradient, length)

    def _lengths(self, noise: Noise, x_BCHW: Tensor) -> Tensor:
        """One each, (B, 1, 1, 1): the truncated half-normal's quantiles of uniform numbers."""
        assert self.sigma is not None
        scale = self.sigma * math.sqrt(2)
        return scale * torch.erfinv(noise.uniform(x_BCHW[:, :1, :1, :1]) * math.erf(self.epsilon / scale))

    def score(self, logits_BK: Tensor, y_B: Tensor, clean_BK: Tensor | None) -> Tensor:
        self.objective.prepare(y_B, clean_BK)
        return self.objective.value(logits_BK)
