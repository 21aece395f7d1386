"""The balls an attack stays in: how to start, step and project. Images (B, C, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from isoloss.runtime.noise import Noise


class Norm(Protocol):
    def start(self, x_BCHW: Tensor, epsilon: float, noise: Noise) -> Tensor:
        """x plus a draw from the ball, clipped to [0, 1]."""
        ...

    def step(self, x_BCHW: Tensor, gradient_BCHW: Tensor, step_size: float) -> Tensor:
        """A steepest-ascent step of length `step_size`, unprojected."""
        ...

    def project(self, adversarial_BCHW: Tensor, x_BCHW: Tensor, epsilon: float) -> Tensor:
        """The nearest images in the ball around x and in [0, 1]."""
        ...

    def size(self, delta_BCHW: Tensor) -> Tensor:
        """Norm per image, (B,)."""
        ...


class Linf:
    """max |delta|; a start is uniform in the cube."""

    def start(self, x_BCHW: Tensor, epsilon: float, noise: Noise) -> Tensor:
        return noise.uniform(x_BCHW).mul_(2 * epsilon).sub_(epsilon).add_(x_BCHW).clamp_(0, 1)

    def step(self, x_BCHW: Tensor, gradient_BCHW: Tensor, step_size: float) -> Tensor:
        return x_BCHW.add(gradient_BCHW.sign(), alpha=step_size)

    def project(self, adversarial_BCHW: Tensor, x_BCHW: Tensor, epsilon: float) -> Tensor:
        return torch.clamp(adversarial_BCHW, x_BCHW - epsilon, x_BCHW + epsilon).clamp_(0, 1)

    def size(self, delta_BCHW: Tensor) -> Tensor:
        return delta_BCHW.flatten(1).abs().amax(1)


class L2:
    """Euclidean length; a start is uniform in the ball: a Gaussian direction, radius epsilon * u^(1/d)."""

    def start(self, x_BCHW: Tensor, epsilon: float, noise: Noise) -> Tensor:
        direction = _unit(noise.normal(x_BCHW))
        radius = noise.uniform(x_BCHW[:, :1, :1, :1]) ** (1.0 / x_BCHW[0].numel())
        return (x_BCHW + epsilon * radius * direction).clamp_(0, 1)

    def step(self, x_BCHW: Tensor, gradient_BCHW: Tensor, step_size: float) -> Tensor:
        return x_BCHW.add(_unit(gradient_BCHW), alpha=step_size)

    def project(self, adversarial_BCHW: Tensor, x_BCHW: Tensor, epsilon: float) -> Tensor:
        delta = adversarial_BCHW - x_BCHW
        shrink = (epsilon / self.size(delta).clamp(min=1e-12)).clamp(max=1.0)
        # Clipping to [0, 1] moves every pixel towards x, which is inside: the ball still holds.
        return (x_BCHW + delta * shrink[:, None, None, None]).clamp_(0, 1)

    def size(self, delta_BCHW: Tensor) -> Tensor:
        return delta_BCHW.flatten(1).norm(dim=1)


def _unit(delta_BCHW: Tensor) -> Tensor:
    return delta_BCHW / delta_BCHW.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]


NORMS: Mapping[str, Norm] = {"linf": Linf(), "l2": L2()}
