"""Projected gradient descent (Madry et al., arXiv:1706.06083): steps of fixed size up a loss, inside a
ball."""

from __future__ import annotations

from torch import Tensor

from isoloss.runtime.attacks.base import Attack, NetworkLike, input_gradient
from isoloss.runtime.attacks.norms import Ball, Norm
from isoloss.runtime.attacks.objectives import Objective
from isoloss.runtime.noise import Noise

#: Standard deviation of the Gaussian start of the original TRADES, MART and AWP code.
NORMAL_START = 0.001


class Pgd(Attack):
    """`start` is uniform (in the ball), normal (x + 0.001 N(0, 1)) or zero (at x).

    Uniform, projected and clipped at every step; the last iterate counts."""

    def __init__(
        self,
        norm: Norm,
        epsilon: float,
        step_size: float,
        attack_steps: int,
        objective: Objective,
        restarts: int = 1,
        start: str = "uniform",
    ) -> None:
        super().__init__(norm, epsilon, restarts)
        if attack_steps < 0:
            raise ValueError(f"attack_steps must be at least 0, got {attack_steps}")
        if start not in ("uniform", "normal", "zero"):
            raise ValueError(f"start must be uniform, normal or zero, got {start!r}")
        self.step_size = step_size
        self.attack_steps = attack_steps
        self.objective = objective
        self.start = start
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
        adversarial = self._start(x_BCHW, ball, noise)
        for _ in range(self.attack_steps):
            gradient = input_gradient(network, adversarial, self.objective)
            adversarial = ball.project(ball.step(adversarial, gradient, self.step_size))
        return adversarial

    def score(self, logits_BK: Tensor, y_B: Tensor, clean_BK: Tensor | None) -> Tensor:
        self.objective.prepare(y_B, clean_BK)
        return self.objective.value(logits_BK)

    def _start(self, x_BCHW: Tensor, ball: Ball, noise: Noise) -> Tensor:
        if self.start == "zero" or self.epsilon == 0:
            return x_BCHW
        if self.start == "normal":
            return (x_BCHW + NORMAL_START * noise.normal(x_BCHW)).clamp_(0, 1)
        return ball.start(noise)
