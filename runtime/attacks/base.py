"""What all attacks share: restarts, the final clip and the score. A subclass writes only `run`.

B images, C channels, H rows, W columns, K classes. Images are float32 in [0, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from isoloss.runtime.attacks.norms import Ball, Norm
from isoloss.runtime.attacks.objectives import Objective
from isoloss.runtime.models.network import Network
from isoloss.runtime.noise import Noise, as_noise

#: Anything that maps images to logits. One that brings its own `input_gradient(x, seed)` is asked for it: `seed`
#: gives d loss / d logits from logits and the rows of the batch they are of (Objective.seed).
NetworkLike = Callable[[Tensor], Tensor]


def input_gradient(network: NetworkLike, x_BCHW: Tensor, objective: Objective) -> Tensor:
    """d sum_b loss_b / d x, (B, C, H, W). Only the input's gradient is computed, never a weight's: no
    `.backward()`, so nothing is left in `.grad` and a DeepSpeed engine is not disturbed."""
    own = getattr(network, "input_gradient", None)
    if own is not None:
        return own(x_BCHW, objective.seed)
    x = x_BCHW.detach().requires_grad_()
    with torch.enable_grad():
        logits = network(x)
    (gradient,) = torch.autograd.grad(logits, x, objective.seed(logits.detach()).to(logits.dtype))
    return gradient


class Attack(ABC):
    """Called on a network, images and labels, gives adversarial images in the ball and in [0, 1].

    With restarts, an image keeps the first try that fools the network, else its try of highest loss."""

    def __init__(self, norm: Norm, epsilon: float, restarts: int = 1) -> None:
        if epsilon < 0:
            raise ValueError(f"epsilon must be at least 0, got {epsilon}")
        if restarts < 1:
            raise ValueError(f"restarts must be at least 1, got {restarts}")
        self.norm = norm
        self.epsilon = epsilon
        self.restarts = restarts

    #: Does `run` want the logits of the clean images?
    needs_clean = False

    @abstractmethod
    def run(
        self,
        network: NetworkLike,
        x_BCHW: Tensor,
        y_B: Tensor,
        ball: Ball,
        noise: Noise,
        clean_BK: Tensor | None,
    ) -> Tensor:
        """One try. May leave the ball by rounding: the base class projects."""

    @abstractmethod
    def score(self, logits_BK: Tensor, y_B: Tensor, clean_BK: Tensor | None) -> Tensor:
        """Loss per image (B,): which of several failed tries is worst."""

    def __call__(
        self,
        network: NetworkLike,
        x_BCHW: Tensor,
        y_B: Tensor,
        rng: torch.Generator | Noise,
        clean_logits_BK: Tensor | None = None,
    ) -> Tensor:
        """Adversarial images (B, C, H, W), float32, detached. `clean_logits_BK` saves a forward pass where
        the caller has the network's logits of `x_BCHW` in the same mode."""
        x_BCHW = x_BCHW.detach()
        noise = as_noise(rng)
        if isinstance(network, Network) and not network.training:
            network = network.attack_view("eval")
        if self.needs_clean and clean_logits_BK is None:
            with torch.no_grad():
                clean_logits_BK = network(x_BCHW)
        ball = self.norm(x_BCHW, self.epsilon)
        best = ball.project(self.run(network, x_BCHW, y_B, ball, noise, clean_logits_BK))
        if self.restarts == 1:
            return best
        fooled, worst = self._judge(network, best, y_B, clean_logits_BK)
        for _ in range(self.restarts - 1):
            tried = ball.project(self.run(network, x_BCHW, y_B, ball, noise, clean_logits_BK))
            now_fooled, loss = self._judge(network, tried, y_B, clean_logits_BK)
            better = ~fooled & (now_fooled | (loss > worst))
            best = torch.where(better[:, None, None, None], tried, best)
            worst = torch.where(better, loss, worst)
            fooled = fooled | now_fooled
        return best

    def _judge(
        self, network: NetworkLike, tried_BCHW: Tensor, y_B: Tensor, clean_BK: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = network(tried_BCHW)
        return logits.argmax(1) != y_B, self.score(logits, y_B, clean_BK)
