"""The balls an attack stays in: how to start, step and project. Images (B, C, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from isoloss.runtime.noise import Noise


class Ball(Protocol):
    """The allowed images around a batch x."""

    def start(self, noise: Noise) -> Tensor:
        """x plus a draw from the ball, clipped to [0, 1]."""
        ...

    def step(self, adversarial_BCHW: Tensor, gradient_BCHW: Tensor, step_size: float | Tensor) -> Tensor:
        """A steepest-ascent step of length `step_size` (or of one each, (B, 1, 1, 1)), unprojected."""
        ...

    def project(self, adversarial_BCHW: Tensor) -> Tensor:
        """The nearest images in the ball and in [0, 1]."""
        ...


class LinfBall:
    """max |delta| <= epsilon; a start is uniform in the cube. Bounds are made once per batch."""

    def __init__(self, x_BCHW: Tensor, epsilon: float) -> None:
        self._x, self._epsilon = x_BCHW, epsilon
        self._low, self._high = (x_BCHW - epsilon).clamp_(min=0), (x_BCHW + epsilon).clamp_(max=1)

    def start(self, noise: Noise) -> Tensor:
        moved = noise.uniform(self._x).mul_(2 * self._epsilon).sub_(self._epsilon).add_(self._x)
        return self.project(moved)

    def step(self, adversarial_BCHW: Tensor, gradient_BCHW: Tensor, step_size: float | Tensor) -> Tensor:
        return _moved(adversarial_BCHW, gradient_BCHW.sign(), step_size)

    def project(self, adversarial_BCHW: Tensor) -> Tensor:
        return torch.clamp(adversarial_BCHW, self._low, self._high)


class L2Ball:
    """|delta| <= epsilon; a start is uniform in the ball: a Gaussian direction, radius epsilon * u^(1/d)."""

    def __init__(self, x_BCHW: Tensor, epsilon: float) -> None:
        self._x, self._epsilon = x_BCHW, epsilon

    def start(self, noise: Noise) -> Tensor:
        direction = _unit(noise.normal(self._x))
        radius = noise.uniform(self._x[:, :1, :1, :1]) ** (1.0 / self._x[0].numel())
        return (self._x + self._epsilon * radius * direction).clamp_(0, 1)

    def step(self, adversarial_BCHW: Tensor, gradient_BCHW: Tensor, step_size: float | Tensor) -> Tensor:
        return _moved(adversarial_BCHW, _unit(gradient_BCHW), step_size)

    def project(self, adversarial_BCHW: Tensor) -> Tensor:
        delta = adversarial_BCHW - self._x
        shrink = (self._epsilon / delta.flatten(1).norm(dim=1).clamp(min=1e-12)).clamp(max=1.0)
        # Clipping to [0, 1] moves every pixel towards x, which is inside: the ball still holds.
        return (self._x + delta * shrink[:, None, None, None]).clamp_(0, 1)


Norm = Callable[[Tensor, float], Ball]


def _moved(x_BCHW: Tensor, direction_BCHW: Tensor, length: float | Tensor) -> Tensor:
    if isinstance(length, Tensor):
        return torch.addcmul(x_BCHW, direction_BCHW, length)
    return torch.add(x_BCHW, direction_BCHW, alpha=length)


def _unit(delta_BCHW: Tensor) -> Tensor:
    return delta_BCHW / delta_BCHW.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]


NORMS: Mapping[str, Norm] = {"linf": LinfBall, "l2": L2Ball}
